"""Takes the screenshot in docs/: python -m tests.verify.screenshot report.html docs/report.png"""

import base64
import sys
from pathlib import Path

from tests.verify.chromium import Chromium

#: Rows of pixels that are kept: tables and charts, not every class.
WIDTH, HEIGHT = 1200, 1500

if __name__ == "__main__":
    page, picture = map(Path, sys.argv[1:3])
    width, height = map(int, sys.argv[3:5]) if len(sys.argv) > 3 else (WIDTH, HEIGHT)
    with Chromium() as browser:
        browser.open(page, width, height, mobile=width < 600)
        picture.write_bytes(base64.b64decode(browser.call("Page.captureScreenshot", format="png")["data"]))
