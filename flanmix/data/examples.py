"""From sample numbers to tokenized examples: order, read, render, tokenize, many at once.

    reader = ExampleReader(mixture, store, vocabulary, lengths, split="train", seed=0)
    reader.read([0, 1, 2])  ->  [Example, Example, Example]

Example g is a pure function of (mixture, seed, g): which record it is comes from `mixing`, its
template and its reference from a draw in (seed, epoch, record), its exemplars from `fewshot`. So
examples can be read in any order, by any host, again after a restart, and give the same ids.

A task's file is opened when its first record is read. Reading, rendering and tokenizing go by
batches, since each has a cost a call.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from flanmix.data.chat.format import ChatFormat
from flanmix.data.fewshot import choose_exemplars, exemplar_indices, wants_exemplars
from flanmix.data.mixing import Sample, SampleOrder
from flanmix.data.render import TextExample, draw, render
from flanmix.data.store.reader import RecordReader
from flanmix.data.store.store import Store
from flanmix.data.tokens import Example, Lengths, tokenize
from flanmix.data.vocabulary import Vocabulary
from flanmix.errors import UserError
from flanmix.registry.mixture import Mixture, MixtureTask
from flanmix.registry.record import Record

TRAIN = "train"


@dataclass
class _Query:
    """A sample's record, how it is asked, and what is shown before it."""

    sample: Sample
    record: Record
    template: int
    reference: int
    exemplars: tuple[Record, ...] = ()
    few_shot: bool = False


class ExampleReader:
    """Reads the examples of a mixture by sample number.

    Args:
        mixture: the resolved mixture.
        store: where its tasks have been prepared.
        vocabulary: the vocabulary.
        lengths: the row's lengths.
        split: `train`, or another split to draw queries from.
        seed: the run's seed.
        chat: the chat format that records are put in; None for plain text.

    Raises:
        UserError: if a task is not in the store, has no such split, or has no records.
    """

    def __init__(
        self,
        mixture: Mixture,
        store: Store,
        vocabulary: Vocabulary,
        lengths: Lengths,
        *,
        split: str = TRAIN,
        seed: int = 0,
        chat: ChatFormat | None = None,
    ) -> None:
        if not mixture.tasks:
            raise UserError(f"mixture '{mixture.name}' has no tasks: name at least one")
        self.mixture = mixture
        self.vocabulary = vocabulary
        self.lengths = lengths
        self._store = store
        self._split = split
        self._seed = seed
        self._chat = chat
        self._readers: dict[tuple[int, str], RecordReader] = {}
        sizes = [self._size(number, task) for number, task in enumerate(mixture.tasks)]
        rates = [task.rate for task in mixture.tasks]
        self.order = SampleOrder(rates, sizes, mixture.names, seed)

    def read(self, numbers: Sequence[int]) -> list[Example]:
        """Reads, renders and tokenizes samples.

        Args:
            numbers: sample numbers, counted over all tasks.

        Raises:
            UserError: for a corrupt file, or a record that none of its task's templates fits.
        """
        return [example for example, _ in self.read_with_exemplars(numbers)]

    def read_with_exemplars(self, numbers: Sequence[int]) -> list[tuple[Example, int | None]]:
        """As `read`, each with how many exemplars it shows; None for one that is to show none."""
        samples = [self.order.sample(number) for number in numbers]
        wanted = [(sample.task, sample.index) for sample in samples]
        records = self._fetch(wanted, self._split)
        queries = [self._query(s, r) for s, r in zip(samples, records, strict=True)]
        self._add_exemplars(queries)
        examples = self._tokenize(queries)
        # Exemplars that do not fit are left out, the last first: the query is not truncated for
        # them, nor are targets that share a row with the inputs.
        shared = not self.lengths.two_sided
        while shorten := [
            i
            for i, (query, example) in enumerate(zip(queries, examples, strict=True))
            if query.exemplars
            and (example.inputs_truncated or (shared and example.targets_truncated))
        ]:
            for i in shorten:
                queries[i].exemplars = queries[i].exemplars[:-1]
            again = self._tokenize([queries[i] for i in shorten])
            for i, example in zip(shorten, again, strict=True):
                examples[i] = example
        counts = [len(query.exemplars) if query.few_shot else None for query in queries]
        return list(zip(examples, counts, strict=True))

    def _size(self, number: int, task: MixtureTask) -> int:
        """Records of a task's split; its file is opened now, so that no later store is read."""
        reader = self._reader(number, self._split)
        reader.hold()
        size = len(reader)
        if not size:
            raise UserError(
                f"task '{task.spec.name}' has no records in its {self._split} split: leave it out "
                f"of mixture '{self.mixture.name}', or correct its source and prepare it again"
            )
        return size

    def _reader(self, number: int, split: str) -> RecordReader:
        reader = self._readers.get((number, split))
        if reader is None:
            task = self.mixture.tasks[number]
            reader = self._readers[number, split] = self._store.open(task.spec, split)
            if split == TRAIN and task.examples not in (None, len(reader)):
                raise UserError(
                    f"task '{task.spec.name}' has {len(reader)} records in its store, and mixture "
                    f"'{self.mixture.name}' was resolved with {task.examples}: start the run again"
                )
        return reader

    def _fetch(self, wanted: Sequence[tuple[int, int]], split: str) -> list[Record]:
        """Records by (task, index), each task's in one go."""
        by_task: dict[int, set[int]] = {}
        for task, index in wanted:
            by_task.setdefault(task, set()).add(index)
        found: dict[tuple[int, int], Record] = {}
        for task, some in by_task.items():
            indices = sorted(some)
            records = self._reader(task, split).__getitems__(indices)
            found.update(((task, i), record) for i, record in zip(indices, records, strict=True))
        return [found[key] for key in wanted]

    def _query(self, sample: Sample, record: Record) -> _Query:
        task = self.mixture.tasks[sample.task]
        drawn = draw(task.spec, record, task.templates, self._seed, sample.epoch)
        if drawn is None:
            raise UserError(
                f"task '{task.spec.name}', record {record.id}: an optional field is empty, and all "
                f"of templates {list(task.templates)} use it; add one that does not"
            )
        return _Query(sample, record, *drawn)

    def _add_exemplars(self, queries: Sequence[_Query]) -> None:
        """Draws and reads exemplars for those queries that get some."""
        chosen: list[tuple[_Query, list[int]]] = []
        for query in queries:
            task, sample = self.mixture.tasks[query.sample.task], query.sample
            key = (self._seed, task.spec.name, sample.epoch, query.record.id)
            if wants_exemplars(*key, task.few_shot_share):
                size = len(self._reader(sample.task, TRAIN))
                exclude = sample.index if self._split == TRAIN else None
                query.few_shot = True
                chosen.append((query, exemplar_indices(*key, size, task.few_shot, exclude)))
        wanted = [(query.sample.task, index) for query, indices in chosen for index in indices]
        candidates = iter(self._fetch(wanted, TRAIN))
        for query, indices in chosen:
            task = self.mixture.tasks[query.sample.task]
            query.exemplars = choose_exemplars(
                task.spec,
                query.record,
                query.template,
                [next(candidates) for _ in indices],
                task.few_shot,
            )

    def _tokenize(self, queries: Sequence[_Query]) -> list[Example]:
        tasks = [query.sample.task for query in queries]
        weights = [self.mixture.tasks[task].loss_weight for task in tasks]
        examples = [self._rendered(query) for query in queries]
        return tokenize(examples, tasks, weights, self.vocabulary, self.lengths)

    def _rendered(self, query: _Query) -> TextExample:
        example = render(
            self.mixture.tasks[query.sample.task].spec,
            query.record,
            query.template,
            reference=query.reference,
            exemplars=query.exemplars,
        )
        return example if self._chat is None else self._chat.example(example)
