"""Prometheus' own checks of docs/alerts.yml: `promtool`, of Debian's package `prometheus`."""

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import yaml

from tests.support.debian import debian_program

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "docs" / "alerts.yml"
RULES = {
    rule["alert"]: rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
}


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it. Without it a test fails in CI, and is skipped elsewhere."""
    program = debian_program("promtool", "prometheus")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)


def assert_alerts(series: Mapping[str, str], expected: Mapping[str, bool], *, at_minute: int) -> None:
    """Evaluate docs/alerts.yml on these series, one sample a minute in promtool's notation.

    `expected` says of alerts whether they fire at that minute.
    """
    fires = 'count(count by (alertname) (ALERTS{{alertname="{}",alertstate="firing"}}))'
    tests = {
        "rule_files": [str(ALERTS)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [
                    {
                        "expr": fires.format(alert),
                        "eval_time": f"{at_minute}m",
                        "exp_samples": [{"labels": "{}", "value": 1}] if fires_then else [],
                    }
                    for alert, fires_then in expected.items()
                ],
            }
        ],
    }
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "tests.yml"
        path.write_text(yaml.safe_dump(tests))
        done = promtool("test", "rules", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
