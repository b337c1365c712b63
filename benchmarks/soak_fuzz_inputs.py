"""Seeded inputs that nobody would write on purpose, for `benchmarks.soak_fuzz`: command lines, study files, storage URLs."""

from __future__ import annotations

import random
from typing import Any

import typer

from fastrcaps_dse.cli.app import app
from fastrcaps_dse.cli.starting import TEMPLATE
from tests.test_study_inputs import DIMENSIONS, FIELDS, TOP, lines

SECRET = "s3cr3tw0rd"
NO_DATA = ("--dataset", "no-such-data")  # of commands that would train: they end where they look for their images


def words(text: str) -> list[str]:
    """Those between the spaces of a text."""
    return text.split()


HOSTILE: tuple[str, ...] = (
    *("", " ", "\x1b[31m", "\x07", "a\nb", "\r", "\t", "\u202e", "\udcff", "e\u0301", "\ufeff", "\uff11\uff12"),
    *("9" * 400, "x" * 300, "a/" * 2500, "[red]x[/red]", "%s%n{}", "{0}", "é😀漢"),
    *words("nan inf -inf 1e400 -1 0 1e-400 -9223372036854775809 0x10 1_000 1e308 1.5 1,5 -- - --json -q .. . folder folder/"),
    *words(
        "/dev/null /dev/full /proc/version [ ] ' \" ~ $HOME * s.db garbage.db study.toml null true 1,2,,3 a=b=c lr=nan = , :"
    ),
    *words("acc>=nan params< size=1e99 one-cycle(lr_max=1e400) time_to:nan latency,latency 2m2m 1e99h -5s"),
)
REAL: dict[str, tuple[str, ...]] = {
    "--study": ("synthetic",),
    "--objectives": ("acc,time", "params", "acc,time,params", "epochs,acc"),
    "--format": ("csv", "json", "table", "markdown", "latex", "html"),
    "--epochs": ("1", "3"),
    "--limit": ("acc>=90", "params<=5e6"),
    "--max-params": ("8e6", "7M"),
    "--max-time": ("60s", "2m"),
    "--min-acc": ("90",),
    "--prefer": ("acc", "time"),
    "--design": ("wab+ws", "fixed", "lr_policy=one-cycle decoder=small"),
    "--designs": ("front", "all", "1,2"),
    "--sampler": ("tpe", "guided", "exhaustive"),
    "--device": ("cpu",),
    "--precision": ("float32",),
    "--protocol": ("paper", "validation"),
    "--compare": ("synthetic",),
    "--delete": ("synthetic",),
    "--rename": ("synthetic",),
    "--join": ("synthetic",),
    "trial": ("0", "3", "6"),
    "dataset": ("mnist-sample", "fashion-mnist-sample"),
    "folder": ("out",),
    "path": ("new.toml", "deep/er/new.toml"),
    "what": ("folder", "garbage.db"),
    "study_file": ("study.toml",),
}
STORAGES = (*words("folder garbage.db empty.db nowhere.db /proc/version sqlite:/// é/😀.db"), "", "\x1b.db", "x" * 300 + ".db")
TRAINS = ("explore", "train", "retrain", "find-lr")
READS = words("front pick show trials studies clean report export-study")


def command_line(seeded: random.Random) -> list[str]:
    """Arguments that end before any training: a real command with real values and hostile ones."""
    import fastrcaps_dse.cli  # noqa: F401  (registers the commands)

    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    if seeded.random() < 0.03:
        return seeded.choices(HOSTILE, k=seeded.randint(0, 3))
    name = seeded.choices([*commands], [0.1 if name == "doctor" else 1.0 for name in commands])[0]
    parameters = [p for p in commands[name].params if "completion" not in p.name]
    given = _bounds(name, seeded)
    chosen = [p for p in parameters if p.param_type_name == "argument" and seeded.random() < 0.9]
    free = [p for p in parameters if p.param_type_name == "option" and p.opts[0] not in given]
    chosen += seeded.sample(free, min(len(free), seeded.choice((0, 1, 1, 2, 2, 3, 5))))
    if name == "report" and any(p.opts[0] == "--figures" for p in chosen):  # other formats start a browser
        chosen = [p for p in chosen if p.opts[0] != "--format"]
        given += ["--format", "html"]
    seeded.shuffle(chosen)
    return [name, *given, *(word for parameter in chosen for word in _option(parameter, seeded))]


def _bounds(name: str, seeded: random.Random) -> list[str]:
    """What keeps a command from work that a fuzzed input must not do."""
    bounds: list[str] = [*NO_DATA] if name in TRAINS else []
    if name == "view":
        wrong = ("--port 65536", "--study none", "--expose *", "--port x")
        bounds += seeded.choice(wrong).split()
    if name not in ("data", "init", "find-lr") and seeded.random() < 0.95:
        bounds += ["--storage", "s.db" if seeded.random() < 0.85 else seeded.choice(STORAGES)]
    return bounds


def _option(parameter: Any, seeded: random.Random) -> list[str]:
    flag = getattr(parameter, "is_flag", False)
    name = (
        parameter.name
        if parameter.param_type_name == "argument"
        else seeded.choice([*parameter.opts, *parameter.secondary_opts])
    )
    values = []
    for _ in range(0 if flag else max(1, parameter.nargs)):
        real = REAL.get(name, ()) if seeded.random() < 0.6 else ()
        values.append(seeded.choice(real or HOSTILE))
    return values if parameter.param_type_name == "argument" else [name, *values]


# --- study files ----------------------------------------------------------------------------------------------------------

TEXTS = ("", "wab · b16", "\x1b[31m", *words("fixed one-cycle x phase 1 nan adabatch one-cycle(lr_max=1e400) acc tpe"))
NUMBERS = (2**63, 10**400, -1, 0, 1, 3, 16, 40, 1e-300, 1e-3, 1e7, 0.5, float("nan"), float("inf"), -0.0)


def _value(seeded: random.Random, depth: int = 0) -> Any:
    kind = seeded.random()
    if kind < 0.15 and depth < 3:
        return [_value(seeded, depth + 1) for _ in range(seeded.randint(0, 3))]
    if kind < 0.35 and depth < 3:
        return {key: _value(seeded, depth + 1) for key in seeded.sample(("low", "high", "step", "log"), seeded.randint(0, 4))}
    return seeded.choice(
        (True, False, seeded.choice(NUMBERS), seeded.choice(NUMBERS), seeded.choice(TEXTS), seeded.choice(TEXTS))
    )


def _table(seeded: random.Random, names: tuple[str, ...], most: int) -> dict[str, Any]:
    return {name: _value(seeded) for name in seeded.sample(names, seeded.randint(0, most))}


def study_file(seeded: random.Random) -> bytes:
    """A study file of anything at all, or the template of `init` with bytes that are changed, left out, doubled and added."""
    if seeded.random() < 0.6:
        space = _table(seeded, DIMENSIONS, 3)
        fields = "" if "fields" in space else "[space.fields]\n" + lines(_table(seeded, FIELDS, 4))
        return (lines(_table(seeded, TOP, 3)) + "[space]\n" + lines(space) + fields).encode()
    text = bytearray(TEMPLATE.replace("\n# ", "\n", seeded.randint(0, 40)).encode())
    for _ in range(seeded.randint(0, 6)):
        first = seeded.randrange(len(text) + 1)
        last = min(len(text), first + seeded.choice((0, 1, 1, 5, 60)))
        put = seeded.choice(
            (
                b"",
                text[first:last] * 2,
                seeded.randbytes(3),
                b"\x00",
                b"\xff",
                b'"""',
                b"[",
                b"9" * 5000,
                b"0x" + b"f" * 5000,
                b"[" * 3000,
            )
        )
        text[first:last] = put
    return bytes(text)


# --- storage URLs ---------------------------------------------------------------------------------------------------------

SCHEMES: tuple[str, ...] = (
    "",
    " postgresql",
    "postgresql\x1b",
    *words("postgresql postgres postgresql+psycopg postgresql+asyncpg"),
)
SCHEMES = (*SCHEMES, *words("mysql mysql+pymysql oracle sqlite nosuch PostgreSQL é s3 http redis"))
BETWEEN = ("://", "://", "://", "://", ":/", ":", "//", "/", ":///", "", ": //", ":\\\\")
HOSTS = (
    "",
    *words("127.0.0.1:1 127.0.0.1:port [::1]:1 :1 127.0.0.1:99999 127.0.0.1:1,127.0.0.1:2 127.0.0.1:1:1 [127.0.0.1:1"),
)
PATHS = ("", "/n\x1b", *words("/name / /n?x=y /é /../x /n?sslmode=require /n?connect_timeout=x /n#x /n%00 /x.db"))
HIDDEN = ("?password=", "?sslmode=require&sslpassword=", "?auth_token=", "?x=y&passwd=")
SPOILED = (" {}", "{}\x1b", *words("{} {} {} {}/x #{} %{} {}%40 {}@ {}: é{} {}? a/b{} [{} {}] %zz{}"))


def storage_url(seeded: random.Random) -> str:
    """A URL, or nearly one, with SECRET as its password."""
    spoiled = seeded.choice(SPOILED).format(SECRET)
    user = seeded.choice(("ann", "", "a%20b", "ann\x1b", "a/b"))
    start = seeded.choice(SCHEMES) + seeded.choice(BETWEEN)
    if seeded.random() < 0.75:
        return f"{start}{user}:{spoiled}@{seeded.choice(HOSTS)}{seeded.choice(PATHS)}"
    return f"{start}ann@{seeded.choice(HOSTS)}/n{seeded.choice(HIDDEN)}{spoiled}"
