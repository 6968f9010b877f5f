"""What an account may do, and what it pays: the wrapper against a sandbox that keeps limits."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from PIL import Image
from unitask import Client, errors, tasks
from unitask._core import uploads
from unitask_contract.sandbox_runner import InProcess
from unitask_sandbox import Sandbox, Settings, bundle, create_app
from unitask_sandbox.engines import simulate

SWAP = tasks.FaceSwap(target_image="https://me.test/a.jpg", swap_image="https://me.test/b.png")


class Provider:
    """A sandbox whose time goes by when its client sleeps, and the client."""

    def __init__(self, **settings: Any) -> None:
        self.now = 1_800_000_000.0
        app = create_app(Settings(autorun=False, engine_process=False, clock=lambda: self.now, **settings))
        self.sandbox: Sandbox = app.state.sandbox
        self.client = Client("sandbox", "http://sandbox.test", transport=InProcess(app), sleep=self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds

    def answers(self, operation: str) -> list[int | None]:
        return [arrival.status for arrival in self.sandbox.arrivals if arrival.operation == operation]


@contextmanager
def provider(**settings: Any) -> Iterator[Provider]:
    made = Provider(**settings)
    try:
        with made.client:
            yield made
    finally:
        made.sandbox.close()


def test_full_account_is_a_full_queue() -> None:
    with provider(concurrency=1) as made:
        made.client.submit(SWAP)
        with pytest.raises(errors.QueueFull, match="Wait until some tasks have ended"):
            made.client.submit(SWAP)

        assert made.answers("create_task") == [200, 429, 429, 429, 429]
        assert made.client.account().max_concurrent_task_count == 1
        assert made.sandbox.balance("sandbox") == 9.99


def test_points_show_as_cost_when_they_are_taken() -> None:
    song = tasks.UdioMusic(gpt_description_prompt="a song", lyrics_type="instrumental")
    with provider() as made:
        task = made.client.submit(song)
        account = made.client.account()
        made.sandbox.advance()
        done = made.client.get(task)

        assert (task.cost_usd, done.cost_usd) == (0.0, pytest.approx(song.estimate_usd()))
        assert account.balance_usd == made.sandbox.balance("sandbox") == pytest.approx(9.95)
        assert account.wallet
        assert account.wallet.point_frozen == 500_000


def test_uploaded_film_is_billed_as_estimated() -> None:
    film: bytes = simulate(bundle.task_type("Qubico/video-toolkit", "upscale", {}), {}).output["video_url"][0]
    padding = bytes(uploads.LARGE)
    task = tasks.VideoUpscale(video=film + struct.pack(">I4s", 8 + len(padding), b"free") + padding)
    with provider() as made:
        billed = made.client.submit(task).cost_usd

        assert made.answers("upload_file") == [200]
        assert billed == pytest.approx(task.estimate_usd())
        assert billed


def test_plan_without_uploads_sends_pictures_along() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (1000, 1000, 3), np.uint8)
    Image.fromarray(noise).save(picture := io.BytesIO(), "PNG")
    task = tasks.ImageSegment(image=picture.getvalue(), prompt="hat", negative_prompt="", segment_factor=0)
    with provider(plan="Free") as made:
        billed = made.client.submit(task).cost_usd

        assert (made.answers("upload_file"), made.answers("create_task")) == ([403], [200])
        assert billed == task.estimate_usd() == 0.01
