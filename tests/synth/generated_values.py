"""Small parts of generated documents: names, texts, numbers, ids; their ends and oddities above all."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from fdl_schemas.names import bucket_problem, container_variable_problem, function_variable_problem

_ODD = [
    *("a", "a b", " a", "ü", "日本語", "🙂", "*", "?", "a*b?", "${aws:username}", "$", "${", "{}", "%20"),
    *('"', "'", "\\", "&<>", "#", "a:b", "[x]", "~", "\u0301", "{{ resolve:ssm:x }}", "${Token}", "{{x}}"),
    *(
        "AWS::",
        "${AWS::AccountId}",
        "Fn::Sub",
        "__proto__",
        "constructor",
        "-",
        "_",
        "...",
        "=",
        "|",
        "null",
        "on",
        "+",
    ),
]
_PRINTABLE = st.characters(exclude_categories=("C", "Z"))
TEXTS = st.one_of(st.sampled_from(_ODD), st.text(_PRINTABLE, min_size=1, max_size=12))
NAMES = st.one_of(
    st.sampled_from(
        ["a", "A", "a-b", "a_b", "ab", "-", "_", "Default", "Resource", "Role", "Logs", "constructor"]
    ),
    st.sampled_from(["__proto__", "f" * 64, "-" * 64, "0", "Fn", "toString"]),
    st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
)
BUCKETS = st.one_of(
    st.sampled_from(["abc", "a.b", "my.bucket.of.files", "1-2", "b" * 63, "resource", "default", "a--b"]),
    st.from_regex(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", fullmatch=True),
).filter(lambda name: bucket_problem(name) is None)
REGIONS = ["us-east-1", "eu-west-1", "ap-southeast-2", "us-gov-west-1", "cn-north-1"]
ACCOUNTS = st.sampled_from(["123456789012", "000000000000"])
LONG_IDS = st.text("0123456789abcdef", min_size=17, max_size=17)
_HEX = st.one_of(LONG_IDS, st.text("0123456789abcdef", min_size=8, max_size=8))
WORDS = st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True)
IMAGES = st.sampled_from(
    [
        *("a", "grycap/ffmpeg", "grycap/ffmpeg:1.2", "quay.io/x/y@sha256:" + "0" * 64, "localhost:5000/a__b"),
        *("docker.io/library/alpine:latest", "r/" * 120 + "r", "a:" + "t" * 128, "[::1]:5000/tool"),
        *("123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/tools:7", "registry.example.org/tools/a:7"),
        "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/tools@sha256:" + "a" * 64,
        "registry.example.org/" + "r" * 255 + ":" + "t" * 128 + "@sha256:" + "0" * 64,
    ]
)
RETENTIONS = [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922]
RETENTIONS += [3288, 3653]


def numbers(least: int, most: int) -> st.SearchStrategy[int]:
    """Any of a range, its ends above all."""
    return st.one_of(st.sampled_from([least, most]), st.integers(least, most))


def some_of(keys: dict[str, st.SearchStrategy[Any]], **required: st.SearchStrategy[Any]) -> Any:
    """A map with some of its keys."""
    return st.fixed_dictionaries(required, optional=keys)


def variables(problem_of: Any, most: int = 4) -> st.SearchStrategy[dict[str, Any]]:
    """Environment variables to whose names `problem_of` has no objection."""
    names = st.one_of(WORDS, TEXTS, st.sampled_from(["AB", "CONT_VAR_X", "constructor", "__proto__", "LC"]))
    values = st.one_of(TEXTS, st.just(""), st.just("two\nlines\t\x01"))
    entries = st.dictionaries(names.filter(lambda name: problem_of(name) is None), values, max_size=most)
    return st.fixed_dictionaries({}, optional={"Variables": entries})


def job_variable_problem(name: str) -> str | None:
    """As the language says, and no name of AWS and of the deployment."""
    reserved = name.startswith(("AWS_", "SCAR_")) or name == "__proto__"
    return "reserved" if reserved else container_variable_problem(name)


def lambda_variable_problem(name: str) -> str | None:
    """As the language says, and no name of AWS and of the deployment."""
    reserved = name.startswith(("AWS_", "SCAR_", "LAMBDA_"))
    return "reserved" if reserved else function_variable_problem(name)


def subnets(least: int = 1) -> st.SearchStrategy[list[str]]:
    """Ids of subnets, as many as the maximum is."""
    most = st.one_of(st.integers(least, 3), st.just(16))
    return most.flatmap(
        lambda count: st.lists(_HEX.map("subnet-{}".format), min_size=count, max_size=count, unique=True)
    )


def security_groups() -> st.SearchStrategy[list[str]]:
    """Ids of security groups, as many as the maximum is."""
    return st.lists(_HEX.map("sg-{}".format), min_size=1, max_size=5, unique=True)


def role_arns() -> st.SearchStrategy[str]:
    """ARNs of roles, with and without a path."""
    names = st.sampled_from(["theirs", "service-role/AWSBatchServiceRole", "a/b/c+=,.@-_"])
    return st.builds("arn:aws:iam::{}:role/{}".format, ACCOUNTS, names)


def filters() -> st.SearchStrategy[Any]:
    """Values of `suffix` and `prefix`."""
    one = st.one_of(st.sampled_from(["jpg", ".jpg", ".tar.gz", "*.csv", "s.txt", ".txt"]), TEXTS)
    many = st.integers(6, 100).map(lambda count: [f".{number:03}" for number in range(count)])
    return st.one_of(one, st.lists(one, max_size=4), st.lists(one, max_size=4), many)


_SEGMENTS = TEXTS.map(lambda text: text.replace("/", "-")).filter(lambda text: text not in (".", ".."))
FOLDERS = st.one_of(
    st.lists(_SEGMENTS, max_size=3).map("/".join),
    st.sampled_from(["x" * 890, "日" * 296, "in", "in/deep", "in/deep/er", "in-2", "out"]),
)


def rarely(draw: st.DrawFn, one_in: int) -> bool:
    """True once in so many cases."""
    return draw(st.integers(0, one_in - 1)) == 0
