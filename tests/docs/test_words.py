"""Old names of things are gone: each idea has one word, that of the field, in code and in texts."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer.main

from api.problem_types import PROBLEM_TYPES
from cli.main import COMMANDS, make_app
from tests.docs.pages import ROOT

PRODUCT = ("api", "cli", "console", "cutout", "cutout_client", "local", "migrations", "sandbox", "worker")

# Each table: the old name, and the one that stands for it now.
FOLDERS = {
    "jobs": "cutout",
    "store": "queue",
    "manifest": "manifests",
    "results_manifest": "results",
    "reports": "schedules",
}
FILES = {
    "access": "dependencies",
    "added": "added_columns",
    "announcing": "outbox",
    "as_input": "round_trip",
    "asked": "optional_columns",
    "batch_looks": "batch_status",
    "budgets": "start",
    "bucket_probe": "bucket_monitor",
    "call_end": "call_record",
    "cancelling": "bulk",
    "carried": "in_flight",
    "catching_up": "missed_runs",
    "conditional": "etag",
    "copying": "bulk_insert",
    "counting": "batch_cache",
    "credit_watch": "credit_poller",
    "database_metrics": "prometheus",
    "deleting": "delete",
    "drafts": "record_builder",
    "ended": "publish",
    "ending": "finish",
    "enqueueing": "enqueue",
    "erasing": "erase",
    "errands": "task_kinds",
    "error_answers": "exception_handlers",
    "events": "sse",
    "fair_places": "fair_semaphore",
    "feed": "google_xml",
    "figures": "overview",
    "firing": "fire",
    "formulas": "csv_injection",
    "fresh": "single_flight",
    "handing_over": "copy_for_producer",
    "handout": "messages",
    "hands": "actions",
    "hold": "pause",
    "ingest_places": "fair_slots",
    "inserting": "enqueue",
    "jitter": "missed_runs",
    "judging": "refusals",
    "keeper": "artifact_writer",
    "keeping": "manage",
    "last_use": "key_usage",
    "late": "lateness",
    "leaving": "drain",
    "limit_watch": "limit_poller",
    "line": "queue",
    "line_marks": "queue_watermarks",
    "line_walk": "queue_scan",
    "listing": "pages",
    "look": "status",
    "looking": "object_kinds",
    "looks": "read_pool",
    "making": "recipe",
    "memory": "change_detection",
    "move": "retry",
    "moving": "bulk",
    "naming": "external_ids",
    "nights": "batch_windows",
    "objects": "signed_objects",
    "obtaining": "fetch_source",
    "opening": "open_source",
    "ordering": "ingest_options",
    "orders": "options",
    "owners": "secrets",
    "pace": "eta",
    "parked": "blocked_jobs",
    "part": "duty",
    "patient_stream": "streaming",
    "pausing": "pauses",
    "places": "producer_slots",
    "planned": "estimate_text",
    "posting": "post",
    "pruning": "pruner",
    "reading": "progress",
    "requests": "pending",
    "schedule_keeper": "schedule_runner",
    "scheduled": "schedule_text",
    "seen": "job_view",
    "sending": "outbox",
    "serving": "serve_reused",
    "settling": "settle",
    "shared_answer": "single_flight",
    "shrinking": "change_detection",
    "standing": "finish",
    "starting": "start",
    "takers": "live_workers",
    "turns": "fair_queue",
    "twins": "waiting_jobs",
    "watch": "heartbeat_monitor",
    "watching": "changes",
    "words": "enums",
}
# Anywhere in code, as a name.
NAMES = {
    "AtHand": "ServicesDep",
    "Asking": "Defaults",
    "BATCH_RESTS": "BATCH_IS_PAUSED",
    "Bought": "ReusableJob",
    "Bounds": "RetryLimits",
    "CallEnd": "CallRecord",
    "Carried": "InFlightJobs",
    "Effect": "IdempotentSession",
    "Errand": "TaskKind",
    "HANDED_OUT": "DISPATCHED",
    "HandedOut": "Dispatched",
    "HeartWatch": "HeartbeatMonitor",
    "IN_LINE": "READY",
    "Keeper": "ArtifactWriter",
    "LastUse": "KeyUsageRecorder",
    "LimitWatch": "LimitPoller",
    "Making": "Recipe",
    "Mine": "Acquired",
    "ObjectLinks": "SignedObjectClient",
    "Once": "IdempotentRequest",
    "PARCEL": "JOBS_PER_MESSAGE",
    "PARKED": "BLOCKED",
    "Paid": "PaidResult",
    "Postman": "WebhookPoster",
    "Question": "BackgroundTask",
    "RESTING": "DELAYED",
    "Refusal": "ClassifiedRefusal",
    "Remembered": "SourceValidator",
    "Rhythm": "Recurrence",
    "SERVING": "REUSING",
    "ScheduleKeeper": "ScheduleRunner",
    "SeenJob": "JobSnapshot",
    "SharedAnswer": "SingleFlight",
    "Shelf": "ReuseScope",
    "Standing": "QueueState",
    "Standings": "InitialState",
    "Survey": "QueueSnapshot",
    "Tally": "RunCounts",
    "Theirs": "TakenByOther",
    "Turns": "Dispatch",
    "a_dispatcher_leads": "leader_exists",
    "answered_yes": "take_success",
    "as_seen": "JobSnapshot",
    "at_hand": "services",
    "disown_result": "invalidate",
    "even_if_shrunk": "accept_shrunk_source",
    "hand_out": "dispatch",
    "hand_out_calls": "dispatch_calls",
    "hand_out_copies": "dispatch_copies",
    "handed_out": "dispatched",
    "in_line": "ready",
    "last_place": "last_virtual_start",
    "look_at_pace": "read_queue_rate",
    "recall_source": "find_validator",
    "remember_source": "save_validator",
    "rest_request": "retry_later",
    "shrinks_to": "min_source_share",
    "survey": "read_snapshot",
    "take_result": "acquire",
    "take_up": "resume",
    "unpark": "unblock",
}
# A name is another thing's elsewhere: here alone nothing may be defined under it.
DEFINITIONS = {
    ("api", "Fresh"): "FreshCache",
    ("api", "Looks"): "ReadPool",
    ("cutout/ingest", "Order"): "IngestOptions",
    ("cutout/ingest", "Request"): "PendingIngest",
    ("cutout/ingest", "abandon"): "cancel",
    ("cutout/ingest", "move_on"): "advance",
    ("cutout/manifests", "safe"): "escape_cell",
    ("cutout/monitoring", "Figures"): "Overview",
    ("cutout/monitoring", "look"): "read_overview",
    ("cutout/queue", "move"): "apply_in_chunks",
    ("cutout/queue", "move_chunk"): "apply_in_chunks",
    ("cutout/queue", "put_back"): "requeue",
    ("cutout/queue", "put_off"): "delay",
    ("cutout/queue", "serve"): "complete_reused",
    ("cutout/queue", "wake"): "promote_due",
    ("cutout/schedules", "Fire"): "Firing",
    ("cutout/schedules", "Look"): "DueRuns",
    ("cutout/status", "Pace"): "QueueRate",
    ("cutout/status", "Place"): "PageRequest",
    ("cutout/status", "Sighting"): "SeenState",
    ("cutout/status", "Wanted"): "JobFilter",
    ("worker/dispatcher", "Credits"): "CreditPoller",
    ("worker/dispatcher", "Look"): "LimitReading",
    ("worker/dispatcher", "Part"): "Duty",
    ("worker/dispatcher", "look"): "tick",
    ("worker/dispatcher", "widen"): "grow",
    ("worker/limiter", "Ending"): "LimiterFeedback",
    ("worker/pipeline", "judge"): "outcome_of",
    ("worker/pipeline", "obtain"): "fetch_source",
    ("worker/webhooks", "look"): "tick",
}
TABLES = {"line": "queue_clock"}
COLUMNS = {
    "last_place": "last_virtual_start",
    "place": "virtual_start",
    "present": "virtual_time",
    "standing": "queue_state",
}
# Values as the database has them, in SQL and in Python.
VALUES = {
    "handed_out": "dispatched",
    "in_line": "ready",
    "parked": "blocked",
    "resting": "delayed",
    "serving": "reusing",
}
# Words in what people read, as regular expressions.
PHRASES = {
    r"--shrinks-to|shrinks_to": "--min-source-share",
    r"--even-if-shrunk|even_if_shrunk": "--accept-shrunk",
    r"cutout_handed_out_jobs": "cutout_dispatched_jobs",
    r"cutout_window_jobs": "cutout_target_outstanding_jobs",
    r"\b(?:is|are) away\b": "is unreachable",
    r"\bgoes on\b": "continues",
    r"\bhand(?:s|ed|ing)?[ _-]out\b": "dispatch",
    r"\bin[ _]line\b(?! [\d{])": "in the queue, ready",
    r"\bkeepers?\b": "writer, runner",
    r"\bmend(?:s|ed|ing)?\b": "fix",
    r"\bnobody expected\b": "unexpected error",
    r"\bresting\b": "delayed",
    r"\bstanding\b(?! by)": "queue state",
    r"\btold of\b": "notified",
    r"\btwins?\b": "jobs that wait for the same picture",
    r"\bworth while\b": "poll again after",
    r"\b(?:un)?park(?:s|ed|ing)?\b": "block, unblock",
    r"\berrands?\b": "task kind",
    r"\bparcels?\b": "message of several jobs",
    r"\bshel(?:f|ves)\b": "reuse scope",
}
# The settings of a function are called so.
SETTINGS_BY_ANOTHER_NAME = re.compile(r"\bknown: Settings\b|\bknown = settings\(\)")


@pytest.mark.parametrize("package", PRODUCT)
def test_no_file_has_an_old_name(package: str) -> None:
    """Neither a folder nor a module of the product is called as before."""
    paths = [path.relative_to(ROOT) for path in _modules(package)]
    old = [f"{path} (now {FILES[path.stem]})" for path in paths if path.stem in FILES]
    old += [f"{path} (now {FOLDERS[part]})" for path in paths for part in path.parts if part in FOLDERS]
    assert old == []


@pytest.mark.parametrize("package", PRODUCT)
def test_no_identifier_is_an_old_name(package: str) -> None:
    """No name in the product's code, no value of the database and no argument is called as before."""
    found = [
        f"{path.relative_to(ROOT)}:{line}: {old} (now {new})"
        for path in _modules(package)
        for line, old, new in _old_names(path.read_text())
    ]
    assert found == []


def test_no_definition_has_an_old_name_where_it_had_it() -> None:
    """Names that mean something else elsewhere are free there, and gone where they meant the old thing."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.name} (now {new})"
        for (folder, old), new in DEFINITIONS.items()
        for path in _modules(folder)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == old
    ]
    assert found == []


def test_no_table_or_column_has_an_old_name() -> None:
    """The models name tables and columns by the field's words."""
    found = []
    for path in _modules("cutout/models"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Assign(targets=[ast.Name(id="__tablename__")], value=ast.Constant(value=str(table))):
                    found += [table] if table in TABLES else []
                case ast.AnnAssign(target=ast.Name(id=column)) if column in COLUMNS:
                    found.append(f"{path.stem}.{column} (now {COLUMNS[column]})")
                case _:
                    pass
    assert found == []


@pytest.mark.parametrize("source", ["pages", "help", "problems", "migrations", "settings"])
def test_no_old_word_is_read(source: str) -> None:
    """Documents, `--help`, problem types, the schema and the settings speak the field's words."""
    texts = dict(_texts(source))
    assert texts
    assert [
        f"{name}: {match[0]!r} (now {new}) in {text[max(0, match.start() - 40) : match.end() + 40]!r}"
        for name, text in texts.items()
        for old, new in PHRASES.items()
        for match in re.finditer(old, text)
    ] == []


class TestTheTables:
    """The tables themselves: they forbid what is old and nothing else."""

    def test_give_no_old_name_as_a_new_one(self) -> None:
        """Whoever follows them once is done."""
        tables: list[Mapping[str, str]] = [FOLDERS, FILES, NAMES, TABLES, COLUMNS, VALUES]
        assert [new for table in tables for new in table.values() if new in table] == []

    @pytest.mark.parametrize(
        ("code", "names"),
        [
            ("def hand_out(x: Standing) -> None: ...", ["hand_out", "Standing"]),
            ("standing = 'in_line'", ["in_line"]),
            ("WHERE = \"standing = 'parked'\"", ["parked"]),
            ("def f(known: Settings): ...", ["known"]),
            ("# unpark and Errand in a comment", []),
            ("def outstanding(): return 'a handed_out text'", []),
        ],
    )
    def test_tell_names_and_values_from_texts(self, code: str, names: list[str]) -> None:
        """A name is a token, a value is quoted; a comment is neither."""
        assert [old for _, old, _ in _old_names(code)] == names

    @pytest.mark.parametrize(
        "text",
        [
            "mend them",
            "Redis is away",
            "it goes on",
            "stands in line",
            "hands out jobs",
            "`standing`",
            "a twin",
        ],
    )
    def test_find_old_phrases(self, text: str) -> None:
        """Also within a sentence."""
        assert any(re.search(old, text) for old in PHRASES)

    @pytest.mark.parametrize(
        "text",
        [
            "in line 3",
            "recommend",
            "outstanding",
            "one stands by",
            "a dispatched job",
            "far away",
            "amendment",
        ],
    )
    def test_leave_other_words_alone(self, text: str) -> None:
        """Parts of other words, and the same word for another thing."""
        assert not any(re.search(old, text) for old in PHRASES)


def _modules(folder: str) -> list[Path]:
    paths = sorted((ROOT / folder).rglob("*.py"))
    assert paths, f"{folder} has no code: name the folders that there are"
    return paths


def _old_names(code: str) -> Iterator[tuple[int, str, str]]:
    quoted = re.compile(rf"(['\"])({'|'.join(VALUES)})\1")
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type == tokenize.NAME and token.string in NAMES:
            yield token.start[0], token.string, NAMES[token.string]
        elif token.type == tokenize.STRING:
            for match in quoted.finditer(token.string):
                yield token.start[0], match[2], VALUES[match[2]]
    for match in SETTINGS_BY_ANOTHER_NAME.finditer(code):
        yield code.count("\n", 0, match.start()) + 1, "known", "settings"


def _texts(source: str) -> Iterator[tuple[str, str]]:
    """Names and texts of a kind that people read, without decisions and the changelog, which are history."""
    match source:
        case "pages":
            pages = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")]
            docs = [path for path in sorted((ROOT / "docs").rglob("*.*")) if "decisions" not in path.parts]
            for path in [*pages, *docs]:
                if path.suffix in (".md", ".yml", ".json"):
                    # A link to a decision has the decision's title.
                    text = re.sub(r"\[[^\]]*\]\([^)]*decisions/[^)]*\)", "", path.read_text())
                    yield str(path.relative_to(ROOT)), text
        case "help":
            yield from _help("cutout", typer.main.get_command(make_app(list(COMMANDS))))
        case "problems":
            for kind, known in PROBLEM_TYPES.items():
                yield kind, f"{kind}: {known.title} {known.remedy}"
        case "migrations":
            for path in _modules("migrations/versions"):
                yield path.name, path.read_text()
        case "settings":
            yield ".env.example", (ROOT / ".env.example").read_text()


def _help(name: str, command: Any) -> Iterator[tuple[str, str]]:
    yield name, command.help or ""
    for parameter in command.params:
        yield f"{name} {parameter.name}", " ".join([*parameter.opts, getattr(parameter, "help", None) or ""])
    for subcommand in getattr(command, "commands", {}).values():
        yield from _help(f"{name} {subcommand.name}", subcommand)
