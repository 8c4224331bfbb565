"""Pictures of README.md: the console while two batches are at work, light and dark.

`python -m tests.docs.console_pictures` starts everything on this machine with the sandbox, which charges
nothing, and needs Debian's package `chromium`.
"""

import io
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path

from playwright.sync_api import Browser, ViewportSize, sync_playwright
from sqlalchemy.orm import Session

from cli.sign_in_link import sign_in_link
from cli.stack import Stack, StackOptions, run_stack
from cutout.models.database import connect
from cutout.queue.enqueue import NewJob, create_batch, enqueue_all
from cutout.storage import Bucket
from cutout.storage.uploads import upload_source
from tests.docs.pages import ROOT

CHROMIUM = "/usr/bin/chromium"
PICTURES = {scheme: ROOT / "docs" / "images" / f"console-{scheme}.png" for scheme in ("light", "dark")}
SIZE = ViewportSize(width=1100, height=620)
# At this pace some hundred jobs are waiting and some are done when the picture is taken.
PACE = {
    "CUTOUT_CALLS_PER_SECOND": "14",
    "CUTOUT_CALLS_IN_FLIGHT": "34",
    # Every job is to call, though they are all of one picture.
    "CUTOUT_REUSE": "off",
}
JOBS = {"spring catalog": 700, "studio, shoes": 240}
MISSING = 12
SECONDS_AT_WORK = 25.0


def main() -> None:
    """Take both pictures."""
    with tempfile.TemporaryDirectory() as directory, redirect_stdout(sys.stderr):
        options = StackOptions(Path(directory), renderers=0, defaults=PACE)
        with run_stack(options) as stack:
            _enqueue(stack)
            time.sleep(SECONDS_AT_WORK)
            link = sign_in_link(stack)
            if link is None:
                raise SystemExit("the console is off: unset CUTOUT_CONSOLE")
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
                _take(browser, link)
                browser.close()


def _take(browser: Browser, link: str) -> None:
    context = browser.new_context(viewport=SIZE)
    page = context.new_page()
    page.goto(link)
    page.wait_for_url("**/console")
    for scheme, path in PICTURES.items():
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.wait_for_timeout(1500)
        page.screenshot(path=path)
        sys.stderr.write(f"{path}\n")
    context.close()


def _enqueue(stack: Stack) -> None:
    """Batches of one photo under many names; some sources of each do not exist."""
    photo = min((ROOT / "photos").glob("*.jpg")).read_bytes()
    engine = connect(stack.settings.database_url.get_secret_value(), connections=1)
    bucket = Bucket(stack.settings)
    source = upload_source(bucket, io.BytesIO(photo))
    missing = f"s3://{bucket.name}/photos/missing.jpg"
    for name, count in JOBS.items():
        sources = [source] * (count - MISSING) + [missing] * MISSING
        jobs = [NewJob(each, f"SKU-{n:04}") for n, each in enumerate(reversed(sources), 1)]
        with Session(engine) as session, session.begin():
            enqueue_all(session, jobs, batch_id=create_batch(session, name).id)
    bucket.close()
    engine.dispose()


if __name__ == "__main__":
    main()
