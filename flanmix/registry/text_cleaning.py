r"""Ordinary typography for text that a dataset stores in some tool's form, for mapping functions.

    detokenize("it 's `` fun '' , is n't it ?")      ->  'it\'s "fun", isn\'t it?'
    unescape("Titan #39;s \\$17 quot;moon quot;")    ->  'Titan \'s $17 "moon "'
    one_line("Dear all,\n\n  please  note")           ->  "Dear all, please note"
    tidy_lines("Ann:  hello\r\n \r\nBob: hi ")        ->  "Ann: hello\nBob: hi"

Each changes spaces, quotation marks and brackets and never a letter or a digit of a word, and
leaves ordinary text alone. What a store holds depends on these functions and its fingerprint does
not see them: whoever changes what they return raises the version of the cards that call them.
"""

import html
import re

_CLITICS = r"(?:s|m|d|ve|re|ll|S|M|D|VE|RE|LL)\b"
_TOKENIZED = (
    (re.compile(r"``|''"), '"'),
    (re.compile(r"-LRB-|-lrb-"), "("),
    (re.compile(r"-RRB-|-rrb-"), ")"),
    (re.compile(r"\b(\w+) n't\b"), r"\1n't"),
    (re.compile(r"(?<=\w) ?(['’]) ?(?=t\b)"), r"\1"),
    (re.compile(rf"(?<=\w) (['’]) ?(?={_CLITICS})"), r"\1"),
    (re.compile(r"(?<=[sS]) '(?= )"), "'"),
    (re.compile(r" +(?=[,;:!?%)\]}])"), ""),
    (re.compile(r" +(?=\.(?!\w))"), ""),
    (re.compile(r"(?<=[(\[{$£€]) +"), ""),
)
_QUOTE = re.compile(r' *" *')
_ENTITY = re.compile(r"(?<![&\w])(#\d{2,5};|quot;|amp;|lt;|gt;|nbsp;)")
_BACKSLASHES = re.compile(r'\\+(?=[$"\'#%])')


def one_line(text: str) -> str:
    """Every run of white space as one space, none at the ends."""
    return " ".join(text.split())


def tidy_lines(text: str) -> str:
    """Every line as `one_line` makes it; lines without text are gone."""
    return "\n".join(line for line in map(one_line, text.splitlines()) if line)


def detokenize(text: str) -> str:
    """Undoes Penn Treebank tokenization: clitics, commas, brackets and quotation marks.

    Quotation marks are taken in pairs, the first opening; a last one without a partner stays as it
    stands in the text.
    """
    text = one_line(text)
    for pattern, replacement in _TOKENIZED:
        text = pattern.sub(replacement, text)
    return one_line(_pair_quotes(text))


def _pair_quotes(text: str) -> str:
    """Moves each double quotation mark to its word: the first of a pair to the next one's front."""
    marks = list(_QUOTE.finditer(text))
    pieces = []
    end = 0
    for number, mark in enumerate(marks):
        pieces.append(text[end : mark.start()])
        end = mark.end()
        opens = number % 2 == 0
        if opens and number == len(marks) - 1:
            pieces.append(mark.group())
        elif opens:
            after = text[mark.start() - 1 : mark.start()]
            pieces.append(' "' if after and after not in "([{-/'" else '"')
        else:
            before = text[end : end + 1]
            pieces.append('"' if before in ".,;:!?)]}-/'" else '" ')
    return "".join([*pieces, text[end:]])


def unescape(text: str) -> str:
    r"""HTML entities, also those that have lost their ampersand, and escaping backslashes."""
    text = _ENTITY.sub(r"&\1", text)
    return one_line(_BACKSLASHES.sub("", html.unescape(text)))
