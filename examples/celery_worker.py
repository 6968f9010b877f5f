"""Swap faces in Celery: celery --app celery_worker worker.

A message may be delivered twice, for example after a worker was killed. The journal of the order has the task of the
first run, so the second run goes on with it, and nothing is paid twice.
"""

import os
from pathlib import Path

from celery import Celery
from unitask import Client, JournalError, tasks
from unitask.bulk import Journal

app = Celery("portraits", broker=os.environ.get("CELERY_BROKER_URL", "redis://"), backend="rpc://")
client = Client()  # a worker process that is forked makes connections of its own


@app.task(
    acks_late=True,
    reject_on_worker_lost=True,
    autoretry_for=(JournalError,),  # the message was delivered again while the first run goes on
    retry_kwargs={"countdown": 60, "max_retries": 60},
)
def swap(order: str, group: str, face: str) -> list[str]:
    """Swap a face for an order, and return the paths of the files."""
    Path("orders").mkdir(exist_ok=True)
    with Journal(f"orders/{order}.db") as journal:
        (result,) = client.map(
            [tasks.FaceSwap(target_image=group, swap_image=face)], journal=journal, to=f"orders/{order}/"
        )
    if result.error:
        raise result.error
    return [str(path) for path in result.files]
