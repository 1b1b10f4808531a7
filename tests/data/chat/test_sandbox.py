import pytest

from flanmix.data.chat.sandbox import Program
from flanmix.errors import UserError

MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": " Hi "},
    {"role": "assistant", "content": "Yes"},
]


def rendered(text, **values):
    return Program(text).render({"messages": MESSAGES, **values})


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}{% endfor %}",
            "<system>Be brief.<user>Hi<assistant>Yes",
        ),
        (
            "{% for m in messages[1:] %}{{ loop.index }}{{ m['role'][0] | upper }}{% endfor %}",
            "1U2A",
        ),
        ("{% for m in messages[::-1] %}{{ m.content.strip()[-1] }}{% endfor %}", "si."),
        (
            "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 2 %}"
            "{% endfor %}{{ ns.n }}",
            "6",
        ),
        ("{{ (1 + 2) * 3 }} {{ 7 // 2 }} {{ 7 % 4 }} {{ 2 ** 5 }}", "9 3 3 32"),
        ("{% macro f(x) %}[{{ x }}]{% endmacro %}{{ f('a') ~ f(3) }}", "[a][3]"),
        ("{{ messages | map(attribute='role') | join(', ') }}", "system, user, assistant"),
        ("{{ messages | selectattr('role', 'equalto', 'user') | list | length }}", "1"),
        ("{{ messages | rejectattr('role', 'in', ['user']) | list | length }}", "2"),
        ("{{ {'a': [1, 'é']} | tojson }}", '{"a": [1, "é"]}'),
        ("{{ x is defined }} {{ x | default('d') }} {{ none is none }}", "False d True"),
        (
            "{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}",
            "role=system;content=Be brief.;",
        ),
        ("{% for i in range(9) %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}", "012"),
        (
            "{{ 'a,b'.split(',')[-1] }}{{ '-'.join(['x', 'y']) }}{{ 'aXb'.replace('X', '__') }}",
            "bx-ya__b",
        ),
        ("  {% if true %}\n  a\n  {% endif %}\n", "  a\n"),  # blocks are trimmed
        ("{{ strftime_now('%Y-%m-%d') }}", "2024-07-26"),
        ("{% generation %}a{% endgeneration %}b", "ab"),
        ("{% set x %}abc{% endset %}{{ x }}{{ 'y' if 'b' in x else 'z' }}", "abcy"),
    ],
)
def test_templates_have_what_the_field_uses(text, wanted):
    assert rendered(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "{% for i in range(10**9) %}{% endfor %}",
        "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}",
        "{% for i in range(1000000) %}" + "long " * 50 + "{% endfor %}",
        "{{ 'a' * 10**10 }}",
        "{{ ['a'] * 10**10 }}",
        "{{ range(10**12) | list }}",
        "{{ range(10**12) | join }}",
        "{{ 'a'.replace('a', 'b' * 10**6).replace('b', 'c' * 10**6) }}",
        "{% set n = namespace(a='x') %}"
        "{% for i in range(99) %}{% set n.a = n.a ~ n.a %}{% endfor %}",
        "{% set n = namespace(a='x') %}"
        "{% for i in range(99) %}{% set n.a = n.a + n.a %}{% endfor %}",
        "{% set n = namespace(a=1) %}"
        "{% for i in range(99) %}{% set n.a = [n.a, n.a] %}{% endfor %}",
        "{% set n = namespace(a=1) %}{% for i in range(99) %}"
        "{% set n.a = {'x': n.a, 'y': n.a} %}{% endfor %}{{ n.a }}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}"
        "{{ f(35) }}",
        "{% set l = range(10**4) | list %}{% for i in l %}{{ i in l }}{% endfor %}",
        "{% set l = range(10**4) | list %}{% for i in l %}{% set a = l[1:] %}{% endfor %}",
        "{% set l = range(10**4) | list %}{% for i in l %}{% set a = l | sort %}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ 2 ** 10**9 }}",
        "{{ '%10000000000d' % 1 }}",
        "{{ 1 | tojson(indent=10**9) }}",
    ],
)
def test_a_template_that_does_not_end_or_grows_is_stopped(text):
    with pytest.raises(UserError, match=r"^refused: "):
        rendered(text)


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__ }}",
        "{{ ''['__class__'] }}",
        "{{ messages.__class__.__mro__ }}",
        "{{ messages | map(attribute='__class__') | list }}",
        "{{ messages | sort(attribute='__init__') }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update({}) }}",
        "{{ messages[0].pop('role') }}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ raise_exception.__globals__ }}",
        "{{ dict.fromkeys([1]) }}",
        "{{ namespace.__init__ }}",
        "{{ self.__init__ }}",
        "{{ self }}",
        "{% for i in messages %}{{ loop._iterable }}{% endfor %}",
        "{{ namespace(a=1)['_Namespace__attrs'] }}",
        "{{ [namespace(a=1)] }}",
        "{% macro f() %}{% endmacro %}{{ f }}",
        "{{ none.__class__ }}",
        "{{ (1).real }}",
    ],
)
def test_attributes_that_no_template_needs_are_refused(text):
    with pytest.raises(UserError, match=r"^refused: it (reaches for|uses|calls)"):
        rendered(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{% if %}", "^line 1: "),
        ("a\n{% include 'x' %}", "line 2: Include is refused"),
        ("{% extends 'x' %}", "Extends is refused"),
        ("{% import 'os' as os %}", "Import is refused"),
        ("{% block a %}{% endblock %}", "Block is refused"),
        ("{% for i in messages recursive %}{% endfor %}", "a recursive loop is refused"),
        ("{{ messages | pprint }}", "No filter named 'pprint'"),
        ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "can't be compiled"),
        ("{% for i in messages %}" * 25 + "{% endfor %}" * 25, "can't be compiled"),
        ("{{ " + "9" * 5000 + " }}", "can't be compiled"),
        ("{{ lipsum() }}", "it fails: 'lipsum' is undefined"),
        ("{{ raise_exception('no\nsystem') }}", "it refuses the messages: no system"),
        ("{{ 1 + 'a' }}", "it fails"),
        ("{{ 1 // 0 }}", "it fails"),
        ("x" * 1_000_001, "characters"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text, says):
    with pytest.raises(UserError, match=says) as error:
        rendered(text)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_marks_stand_around_what_the_model_writes():
    program = Program("a{% generation %}b{% endgeneration %}c")
    assert program.marks_turns
    assert program.render({}, marks=("<", ">")) == "a<b>c"
    assert not Program("a").marks_turns


def test_a_rendering_leaves_the_budget_of_the_next_alone():
    program = Program("{% for i in range(n) %}{% endfor %}done")
    for _ in range(3):
        assert program.render({"n": 900_000}) == "done"
