"""The page in a real browser, at the width of a phone and of a desk."""

import re
import shutil
import subprocess

import a_run
import numpy as np
import pytest
from PIL import Image

from cactus_tf import report

PHONE, DESK = 390, 1280
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(not BROWSER, reason="no chromium or google-chrome is installed")
WRAPPER = """<iframe id="page" src="{page}" width="{width}" height="900" style="border:0"></iframe>
<p id="found"></p><script>
onload = () => {{
  const shown = document.getElementById("page").contentDocument;
  const points = [...shown.querySelectorAll(".points a")];
  points.sort((a, b) => b.getBoundingClientRect().x - a.getBoundingClientRect().x).slice(0, 1).forEach(a => a.focus());
  const wide = [...shown.querySelectorAll("body *")].filter(e => !e.closest(".scroll, pre"));
  const right = Math.max(...wide.map(e => e.getBoundingClientRect().right));
  document.getElementById("found").textContent =
    `scroll ${{shown.documentElement.scrollWidth}} right ${{Math.ceil(right)}} images ${{
      [...shown.images].filter(i => i.naturalWidth > 0).length}} of ${{shown.images.length}}`;
}};
</script>"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    run = a_run.with_embeddings(a_run.make(tmp_path_factory.mktemp("browsed")))
    report.write(run)
    return run.folder


def browse(folder, *flags):
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--allow-file-access-from-files",
    ]
    done = subprocess.run([*command, f"--user-data-dir={folder / 'profile'}", *flags], capture_output=True, timeout=120)
    return done.stdout.decode()


@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("page", ["report.html", "clusters.html"])
def test_nothing_is_wider_than_the_page(folder, width, page):
    """Not even the picture of the rightmost point of the map, which is pointed at."""
    (folder / "wrapper.html").write_text(WRAPPER.format(width=width, page=page))
    text = browse(folder, "--virtual-time-budget=5000", "--dump-dom", f"file://{folder}/wrapper.html")
    scroll, right, drawn, images = map(int, re.search(r"scroll (\d+) right (\d+) images (\d+) of (\d+)", text).groups())
    assert scroll == width
    assert right <= width
    assert drawn == images


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_the_page_is_dark_text_on_white_with_colors(folder, width):
    path = folder / f"{width}.png"
    browse(folder, f"--window-size={width},1200", f"--screenshot={path}", f"file://{folder}/report.html")
    shown = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert shown.shape == (1200, width, 3)
    assert (shown == 255).all(axis=-1).mean() > 0.5
    assert (shown.max(axis=-1) < 100).mean() > 0.005  # text
    assert (np.ptp(shown, axis=-1) > 100).mean() > 0.005  # bars
