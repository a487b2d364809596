"""What the workers of test_queues.py run: a Celery app and a function for RQ.

Imported by the worker processes and by the test; RESPOOL_TEST_URL is the broker.
"""

import os

from celery import Celery

URL = os.environ.get("RESPOOL_TEST_URL", "redis://127.0.0.1:6379")
app = Celery("queue_tasks", broker=URL + "/1", backend=URL + "/2")
app.conf.update(
    broker_connection_retry_on_startup=False, result_expires=60, worker_prefetch_multiplier=1,
    broker_transport_options={"visibility_timeout": 60},
)


@app.task
def add(a, b):
    return a + b


@app.task
def fail():
    raise ValueError("as it should")


def multiply(a, b):
    return a * b
