"""The viewer on a day of ECG: seconds until there is something to see, frames a second, memory of the server.

    python benchmarks/viewer.py [--hours 24] [--seconds 5]
    python benchmarks/viewer.py --picture docs/images/viewer.png    # of the recording that ships, and nothing measured

The day is two leads at 250 Hz, joined of the records of SVDB. The browser is Chromium without a window, which draws
without a graphics card. Every frame gets one event of a wheel; an interval is the time from frame to frame.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from annotate import joined
from PIL import Image

FIRST_PICTURE = """async () => {
  const frame = () => new Promise(requestAnimationFrame);
  const state = async () => (await fetch("/api/recordings/0")).json();
  let read = null;
  for (let now = await state(); now.annotated < 1; now = await state()) {
    if (now.error) throw new Error(now.error);
    if (now.read === 1) read ??= performance.now();
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const annotated = performance.now();
  while (!document.querySelector("#classes button")) await frame();
  await frame();
  return [read, annotated, performance.now()];
}"""
INTERVALS = """async ([seconds, pan, zooms]) => {
  const canvas = document.getElementById("ecg"), stamps = [];
  const frame = () => new Promise(requestAnimationFrame);
  for (const start = performance.now(); performance.now() - start < 1000 * seconds;) {
    const deltaY = zooms ? 120 * Math.sign(Math.sin((performance.now() - start) / 320)) : pan;
    canvas.dispatchEvent(new WheelEvent("wheel", { deltaY, shiftKey: !zooms, cancelable: true }));
    stamps.push(await frame());
  }
  return stamps.slice(1).map((stamp, at) => stamp - stamps[at]);
}"""


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--data-dir", type=Path, default=Path(os.environ.get("ECG_DATA_DIR", "data")))
    parser.add_argument("--picture", type=Path)
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        day = "example" if settings.picture else joined(Path(folder), settings.hours, settings.data_dir)
        program = [sys.executable, "-m", "ecg_lightning", "view", str(day), "--no-browser", "--port", "0", "-o", folder]
        program += ["--model", "cnet_ds1"] if settings.picture else []  # which has not seen the person
        server = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
        try:
            address = re.search(r"http\S+", server.stdout.readline()).group()  # type: ignore[union-attr]
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            if settings.picture:
                page.set_viewport_size({"width": 1280, "height": 800})
                page.goto(address)
                page.locator("#classes button").first.wait_for()
                for key in ["v"] * 4 + ["ArrowDown"]:  # a beat in the middle, less high
                    page.keyboard.press(key)
                page.wait_for_timeout(1000)  # until tiles and events have come
                page.screenshot(path=settings.picture)
                few = Image.open(settings.picture).convert("RGB").quantize(128, kmeans=3)
                few.save(settings.picture, optimize=True)
                return
            start = time.perf_counter()
            page.goto(address)
            loaded = time.perf_counter() - start
            read, annotated, drawn = (each / 1000 for each in page.evaluate(FIRST_PICTURE))
            print(f"page {loaded:.2f} s, signals read {read:.1f} s, annotated {annotated:.1f} s")
            print(f"first picture after it {drawn - annotated:.2f} s")
            beats = json.loads(page.request.get(address.split("?")[0] + "api/recordings/0/beats").text())
            print(f"{beats['columns']['time_s']['shape'][0]:,} beats in {settings.hours:g} h")
            print(f"{'':<24} frames/s: median  5th percentile")
            page.keyboard.press("0")
            for name, closer, zooms in (("pan at 25 mm/s", 0, 0), ("pan, 12 minutes", 6, 0), ("pan, 3 hours", 4, 0),
                                        ("zoom, 25 mm/s to a day", 0, 1)):  # fmt: skip
                for _ in range(closer):
                    page.keyboard.press("-")
                took = np.array(page.evaluate(INTERVALS, [settings.seconds, 40, zooms]))
                print(f"{name:<24} {1000 / np.median(took):>16.0f} {1000 / np.percentile(took, 95):>15.0f}")
            heap = page.evaluate("performance.memory.usedJSHeapSize") / 2**20
            peak = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{server.pid}/status").read_text()).group(1)  # type: ignore[union-attr]
            print(f"heap of the page {heap:.0f} MiB, most memory of the server {int(peak) / 1024:.0f} MiB")
            browser.close()
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
