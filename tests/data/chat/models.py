"""Folders of tokenizers as chat models have them, tiny; templates in the forms of the field."""

import json
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from flanmix.data.chat.template import ChatTemplate, find_template
from flanmix.data.vocabulary import Vocabulary, load_vocabulary

TEXTS = ["user assistant system", "It rains, and it is wet.", "2 + 3 = 5?", "yes no", "hello world"]

CHATML = (
    "{% for turn in messages %}"
    "{{ '<|im_start|>' + turn.role + '\n' + turn.content + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA3 = (
    "{{- bos_token }}\n"
    "{%- for turn in messages %}\n"
    "    {{- '<|head|>' ~ turn['role'] ~ '<|/head|>\n\n' ~ turn['content'] | trim ~ '<|eot|>' }}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}\n"
    "    {{- '<|head|>assistant<|/head|>\n\n' }}\n"
    "{%- endif %}\n"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}"
    "{{ raise_exception('no system messages, please') }}{% endif %}"
    "{% for turn in messages %}"
    "{% if (turn.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('user and assistant have to take turns') }}{% endif %}"
    "{% set who = 'model' if turn.role == 'assistant' else turn.role %}"
    "{{ '<turn>' + who + '\n' + turn.content | trim + '</turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<turn>model\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% set ns = namespace(system='') %}{% for turn in messages %}"
    "{% if turn.role == 'system' %}{% set ns.system = turn.content + '\n\n' %}"
    "{% elif turn.role == 'user' %}{{ '[INST] ' + ns.system + turn.content + ' [/INST]' }}"
    "{% set ns.system = '' %}"
    "{% else %}{{ ' ' + turn.content + eos_token }}{% endif %}{% endfor %}"
)
# Earlier thoughts go, and the last turn has some, empty where it says none.
THINKING = (
    "{% for turn in messages %}"
    "{% if turn.role == 'assistant' %}"
    "{% set said = turn.content.split('</think>')[-1].lstrip('\n') %}"
    "{% set thought = turn.content.split('</think>')[0].split('<think>')[-1] %}"
    "{{ '<|im_start|>assistant\n' }}"
    "{% if loop.last %}"
    "{{ '<think>' + (thought if '</think>' in turn.content else '') + '</think>\n' }}"
    "{% endif %}{{ said + '<|im_end|>\n' }}"
    "{% else %}{{ '<|im_start|>' + turn.role + '\n' + turn.content + '<|im_end|>\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
MARKED = (
    "{% for turn in messages %}{{ '<|im_start|>' + turn.role + '\n' }}"
    "{% if turn.role == 'assistant' %}"
    "{% generation %}{{ turn.content }}{% endgeneration %}"
    "{% else %}{{ turn.content }}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
WORDS = (
    "{% for turn in messages %}{{ turn.role | upper + ': ' + turn.content + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT: ' }}{% endif %}"
)
TEMPLATES = {
    "chatml": CHATML,
    "llama3": LLAMA3,
    "gemma": GEMMA,
    "mistral": MISTRAL,
    "thinking": THINKING,
    "marked": MARKED,
    "words": WORDS,
}
SPECIAL = (
    "<|end|>",
    "<s>",
    "</s>",
    "<|im_start|>",
    "<|im_end|>",
    "<|head|>",
    "<|/head|>",
    "<|eot|>",
    "<turn>",
    "</turn>",
    "[INST]",
    "[/INST]",
)
END = {"llama3": "<|eot|>", "gemma": "</turn>", "mistral": "</s>", "words": "<|end|>"}


def write_folder(folder: Path, name: str, **more) -> Path:
    """A tokenizer's folder with one of `TEMPLATES`."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS * 4, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": END.get(name, "<|im_end|>"),
        "add_bos_token": "bos_token" in TEMPLATES[name],
        "chat_template": TEMPLATES[name],
        **more,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def opened(folder: Path) -> tuple[Vocabulary, ChatTemplate]:
    """The vocabulary and the template of a folder."""
    template = find_template(str(folder))
    assert template is not None
    return load_vocabulary(str(folder)), template
