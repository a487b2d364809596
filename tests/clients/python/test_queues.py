"""Celery and RQ with Redis as their broker: issue 3. Their workers are processes of their own.

Runs against whatever RESPOOL_TEST_URL names; see conftest.py.
"""

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from rq import Queue, SimpleWorker

import queue_tasks

pytestmark = pytest.mark.stateful
WAIT_SECONDS = 40
HERE = Path(__file__).parent


@contextmanager
def worker(*arguments):
    """A worker process, ended by its id; its output is shown when the test fails."""
    child = subprocess.Popen(
        [sys.executable, "-m", *arguments], cwd=HERE, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.terminate()
        try:
            print(child.communicate(timeout=WAIT_SECONDS)[0][-4000:])
        except subprocess.TimeoutExpired:
            child.kill()
            print(child.communicate()[0][-4000:])


def test_celery_tasks(url):
    arguments = ["celery", "-A", "queue_tasks", "worker", "--pool", "threads", "--concurrency", "2", "--loglevel", "INFO"]
    with worker(*arguments) as child:
        assert queue_tasks.add.delay(20, 22).get(timeout=WAIT_SECONDS) == 42
        failed = queue_tasks.fail.delay()
        with pytest.raises(ValueError, match="as it should"):
            failed.get(timeout=WAIT_SECONDS)
        results = [queue_tasks.add.delay(number, 1) for number in range(20)]
        assert [result.get(timeout=WAIT_SECONDS) for result in results] == list(range(1, 21))
        assert queue_tasks.app.control.ping(timeout=5), "the worker hears a broadcast"
        assert child.poll() is None
    assert child.returncode == 0


def test_rq_job_in_this_process(url):
    with redis.Redis.from_url(url) as connection:
        queue = Queue(connection=connection)
        job = queue.enqueue(queue_tasks.multiply, 6, 7)
        assert SimpleWorker([queue], connection=connection).work(burst=True)
        assert job.return_value() == 42


def test_rq_job_in_a_worker_process(url):
    with redis.Redis.from_url(url) as connection:
        queue = Queue(connection=connection)
        jobs = [queue.enqueue(queue_tasks.multiply, number, 2) for number in range(5)]
        with worker("rq.cli", "worker", "--url", url, "--burst", "--path", str(HERE)) as child:
            assert child.wait(WAIT_SECONDS) == 0
        assert [job.return_value() for job in jobs] == [0, 2, 4, 6, 8]


def test_rq_worker_that_waits(url):
    """A worker that is blocked waiting gets a job that comes later, and ends when it is told."""
    with redis.Redis.from_url(url) as connection:
        queue = Queue(connection=connection)
        with worker("rq.cli", "worker", "--url", url, "--path", str(HERE), "--max-jobs", "3") as child:
            for number in range(3):
                job = queue.enqueue(queue_tasks.multiply, number, 3)
                result = job.latest_result(timeout=WAIT_SECONDS)
                assert result is not None and result.return_value == number * 3
            assert child.wait(WAIT_SECONDS) == 0
