"""The upload sensor in queue mode, against an SQS server over HTTP, a real bucket and a real ledger."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import boto3
import dagster as dg
import pytest
from moto.server import ThreadedMotoServer

from pipeline_assets.definitions import build_defs
from resources.assembly import build_resources
from resources.database import ledger, reconciliation, rejects, seen_objects
from resources.database.contract import Database
from resources.database.ledger import Materialization
from resources.database.postgres import Postgres
from resources.database.sqlite import Sqlite
from resources.errors import InsecureEndpoint, StoreUnavailable
from resources.objects import upload_queue
from resources.objects.resource import Objects
from resources.objects.upload_queue import Message, UploadQueue
from resources.settings import Settings
from sensors import queue_intake
from sensors import uploads as sensor
from sensors.uploads import new_uploads, upload_day

pytestmark = pytest.mark.filterwarnings(
    "ignore:Asset job .* materializes assets with varying BackfillPolicies", "ignore::DeprecationWarning:moto"
)

KEYS = {"access_key": "test", "secret_key": "test"}
TODAY = datetime.now(UTC).date()


@pytest.fixture(autouse=True)
def _short_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """This server has all messages in one place: no poll needs to be long."""
    monkeypatch.setattr(upload_queue, "WAIT_S", 0)


@pytest.fixture(scope="module")
def sqs() -> Iterator[Any]:
    """A client of an SQS server that lives as long as this module's tests."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "sqs",
        endpoint_url=f"http://{host}:{port}",
        region_name="us-east-1",
        **{f"aws_{name}": key for name, key in {"access_key_id": "test", "secret_access_key": "test"}.items()},
    )
    yield client
    client.close()
    server.stop()


@pytest.fixture(scope="module")
def repository() -> dg.RepositoryDefinition:
    return build_defs(Settings()).get_repository_def()


class House:
    """A bucket that tells a queue of what is uploaded, and the sensor that reads it."""

    def __init__(
        self, sqs: Any, bucket: str, s3_options: dict[str, str], postgres: Database, repository: dg.RepositoryDefinition
    ) -> None:
        self.sqs = sqs
        self.repository = repository
        self.uploads = Objects(url=f"s3://{bucket}", **s3_options)
        self.postgres = postgres
        url = sqs.create_queue(QueueName=bucket, Attributes={"VisibilityTimeout": "0"})["QueueUrl"]
        self.queue = UploadQueue(url=url, **KEYS)
        postgres.migrate()

    def put(self, name: str, day: date = TODAY, data: bytes = b"x") -> str:
        """Upload an object. Returns the event that Amazon would send of it."""
        key = f"uploads/{day}/1/{name}"
        self.uploads.store.put(key, data)
        info = self.uploads.store.head(key)
        record = {
            "eventName": "ObjectCreated:Put",
            "eventTime": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "s3": {
                "bucket": {"name": self.uploads.bucket},
                "object": {
                    "key": quote_plus(key),
                    "size": info.size,
                    "eTag": info.etag,
                    "versionId": info.version_id,
                },
            },
        }
        return json.dumps({"Records": [record]})

    def send(self, *bodies: str) -> None:
        for start in range(0, len(bodies), 10):
            entries = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies[start : start + 10])]
            assert not self.sqs.send_message_batch(QueueUrl=self.queue.url, Entries=entries).get("Failed")

    def tick(self, queue: UploadQueue | None = None) -> Any:
        with dg.DagsterInstance.ephemeral() as instance:
            context = dg.build_sensor_context(
                instance=instance,
                repository_def=self.repository,
                resources={"uploads": self.uploads, "database": self.postgres, "upload_queue": queue or self.queue},
            )
            return new_uploads.evaluate_tick(context)

    def asked(self) -> dict[str, int]:
        requests = self.tick().run_requests or []
        return {str(request.partition_key): int(request.tags["darkroom/objects"]) for request in requests}

    def known(self) -> list[tuple[str, str]]:
        return self.postgres.read("select key, version_id from objects order by key, version_id").rows()

    def there(self) -> list[tuple[str, str]]:
        """What the bucket holds now, with version ids."""
        return [(i.key, str(self.uploads.store.head(i.key).version_id)) for i in self.uploads.store.list("uploads/")]

    def left(self) -> int:
        attributes = self.sqs.get_queue_attributes(
            QueueUrl=self.queue.url, AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        )["Attributes"]
        return sum(map(int, attributes.values()))

    def rejects(self) -> list[tuple[str, str]]:
        return self.postgres.read("select reason, body from queue_rejects order by received_at, message_id").rows()


@pytest.fixture
def house(
    sqs: Any, bucket: str, s3_options: dict[str, str], postgres_url: str, repository: dg.RepositoryDefinition
) -> House:
    return House(sqs, bucket, s3_options, Postgres(url=postgres_url), repository)


def test_an_empty_queue_asks_for_nothing_and_lists_nothing(house: House) -> None:
    house.put("untold.jpg")
    assert house.tick().skip_message == "nothing new among 0 messages (0 not understood); 0 entered the ledger"
    assert house.known() == []


def test_each_event_becomes_a_row_that_can_be_read_and_its_message_is_deleted(house: House) -> None:
    house.send(house.put("a.jpg"), house.put("b c+d.jpg"), house.put("old.jpg", date(2026, 2, 1)))
    assert house.asked() == {str(TODAY): 2, "2026-02-01": 1}
    assert house.known() == house.there()
    assert house.left() == 0
    assert all(house.uploads.store.get(key, version_id=version) == b"x" for key, version in house.known())


def test_sqlite_keeps_the_same_rows_and_rejects(
    sqs: Any, bucket: str, s3_options: dict[str, str], tmp_path: Path, repository: dg.RepositoryDefinition
) -> None:
    house = House(sqs, bucket, s3_options, Sqlite(url=f"sqlite:///{tmp_path / 'darkroom.db'}"), repository)
    event = house.put("b c+d.jpg")
    house.send(house.put("a.jpg"), event, event, house.put("old.jpg", date(2026, 2, 1)), "no\x85 json")
    assert house.asked() == {str(TODAY): 2, "2026-02-01": 1}
    assert house.known() == house.there()
    assert [body for _, body in house.rejects()] == ["no\x85 json"]
    assert house.left() == 0
    house.send(event)
    assert len(house.known()) == 3


def test_duplicate_and_reordered_events_of_overwrites_are_one_row_a_version(house: House) -> None:
    events = [house.put("a.jpg", data=bytes([n])) for n in range(4)]
    house.send(*reversed(events), events[1], events[3], house.put("b.jpg"))
    assert house.asked() == {str(TODAY): 5}
    assert len(house.known()) == 5
    house.send(*events)
    assert house.asked() == {str(TODAY): 5}
    assert len(house.known()) == 5


def test_a_listing_after_the_events_finds_nothing_new(house: House) -> None:
    house.send(house.put("a.jpg"), house.put("b.jpg"))
    house.asked()
    assert seen_objects.enter(house.postgres, house.uploads, list(house.uploads.store.list("uploads/")), upload_day) == []
    assert reconciliation.reconcile(house.postgres, house.uploads, "uploads/", upload_day).entered == 0


def test_an_event_that_was_never_sent_is_found_by_the_nightly_walk(house: House) -> None:
    house.send(house.put("told.jpg"))
    house.put("lost.jpg")
    assert house.asked() == {str(TODAY): 1}
    assert reconciliation.reconcile(house.postgres, house.uploads, "uploads/", upload_day).entered == 1
    assert house.asked() == {str(TODAY): 2}


def test_more_messages_than_a_commit_takes_are_all_taken_in_one_tick(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_intake, "MESSAGES_PER_COMMIT", 10)
    house.send(*(house.put(f"{n:02}.jpg") for n in range(35)))
    assert house.asked() == {str(TODAY): 35}
    assert house.left() == 0


def test_a_tick_whose_time_is_up_leaves_the_rest_for_the_next(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.send(house.put("a.jpg"))
    with monkeypatch.context() as patch:
        patch.setattr(sensor, "TICK_S", -1.0)
        assert house.asked() == {}
    assert house.left() == 1
    assert house.asked() == {str(TODAY): 1}


def test_messages_that_are_not_understood_are_kept_with_their_reason_and_cost_no_neighbour(house: House) -> None:
    other = house.put("other.jpg").replace(house.uploads.bucket, "another-bucket")
    bad = ["no json", "[" * 50_000, '{"Records": [{}]}', other]
    house.send(bad[0], house.put("a.jpg"), bad[1], bad[2], house.put("b.jpg"), bad[3])
    assert house.asked() == {str(TODAY): 2}
    assert house.left() == 0
    kept = house.rejects()
    assert sorted(body for _, body in kept) == sorted(body[: rejects.KEPT_CHARACTERS] for body in bad)
    assert all(reason for reason, _ in kept)


def test_keys_outside_uploads_and_removals_are_left_without_a_word(house: House) -> None:
    event = house.put("a.jpg")
    house.send(event.replace("uploads%2F", "elsewhere%2F"), event.replace("ObjectCreated:Put", "ObjectRemoved:Delete"))
    assert house.asked() == {}
    assert (house.left(), house.rejects(), house.known()) == (0, [], [])


def test_a_crash_between_ledger_and_deletion_brings_the_message_again_and_loses_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Crash(Exception):
        pass

    def crash(self: UploadQueue, messages: list[Message]) -> int:
        raise Crash

    monkeypatch.setattr(upload_queue, "HIDDEN_S", 0)
    house.send(house.put("a.jpg"))
    with monkeypatch.context() as patch:
        patch.setattr(UploadQueue, "delete", crash)
        patch.setattr(queue_intake, "MESSAGES_PER_COMMIT", 1)
        with pytest.raises(Crash):
            queue_intake.take_messages(house.queue, house.uploads, house.postgres, upload_day, float("inf"))
    assert len(house.known()) == 1
    assert house.left() == 1
    assert house.asked() == {str(TODAY): 1}
    assert house.left() == 0
    assert len(house.known()) == 1


def test_a_ledger_that_is_away_leaves_the_messages_in_the_queue(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_queue, "HIDDEN_S", 0)
    monkeypatch.setattr(queue_intake, "MESSAGES_PER_COMMIT", 1)
    house.send(house.put("a.jpg"))
    away = Postgres(url="postgresql://nobody:x@127.0.0.1:9/none")
    with pytest.raises(StoreUnavailable):
        queue_intake.take_messages(house.queue, house.uploads, away, upload_day, float("inf"))
    assert house.left() == 1
    assert house.asked() == {str(TODAY): 1}


def see(house: House) -> None:
    days = seen_objects.object_days(house.postgres, house.uploads.bucket).iter_rows(named=True)
    ledger.record(
        house.postgres,
        [
            Materialization("raw_uploads", d["day"], "d", 1, 0, "c", "i", {"outside": d["digest"]}, 1, None, "r")
            for d in days
        ],
    )


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/000000000000/q", "missing"])
def test_a_queue_that_can_not_be_read_is_not_taken_for_an_empty_one(house: House, url: str) -> None:
    house.send(house.put("a.jpg"))
    house.asked()
    see(house)
    away = UploadQueue(url=url if url != "missing" else f"{house.queue.url}-missing", **KEYS)
    tick = house.tick(away)
    assert not tick.run_requests
    assert str(tick.skip_message).startswith(
        "queue failed: The upload queue did not answer: check DARKROOM_UPLOADS_QUEUE_URL"
    )
    assert len(house.known()) == 1


def test_a_failing_queue_does_not_keep_pending_days_from_their_runs(house: House) -> None:
    house.send(house.put("a.jpg"))
    house.asked()
    tick = house.tick(UploadQueue(url="http://127.0.0.1:9/0/q", **KEYS))
    assert [request.partition_key for request in tick.run_requests] == [str(TODAY)]


def test_events_of_a_bucket_without_versions_are_the_rows_that_a_listing_makes(house: House, s3_client: Any) -> None:
    bucket = f"{house.uploads.bucket}-plain"
    s3_client.create_bucket(Bucket=bucket)
    house.uploads = Objects(
        url=f"s3://{bucket}", **{n: getattr(house.uploads, n) for n in ("endpoint", "access_key", "secret_key")}
    )
    house.send(house.put("a.jpg"), house.put("a.jpg", data=b"other"))
    assert house.asked() == {str(TODAY): 2}
    assert all(version.startswith("etag-") for _, version in house.known())
    assert seen_objects.enter(house.postgres, house.uploads, list(house.uploads.store.list("uploads/")), upload_day) == []


def test_an_uploads_url_with_a_prefix_takes_the_events_below_it(house: House) -> None:
    inside = Objects(
        url=f"{house.uploads.url}/team", **{n: getattr(house.uploads, n) for n in ("endpoint", "access_key", "secret_key")}
    )
    outside_event = house.put("outside.jpg")
    house.uploads = inside
    house.send(outside_event, house.put("a.jpg").replace("uploads%2F", "team%2Fuploads%2F"))
    assert house.asked() == {str(TODAY): 1}
    assert [key for key, _ in house.known()] == [f"uploads/{TODAY}/1/a.jpg"]


def test_credentials_do_not_travel_to_another_machine_over_plain_http() -> None:
    with pytest.raises(InsecureEndpoint, match="https"):
        UploadQueue(url="http://queue.example.org/1/q", **KEYS).receive()


def test_the_region_of_an_amazon_queue_is_in_its_url() -> None:
    client = upload_queue._client("https://sqs.eu-central-1.amazonaws.com/1/q", "a", "b", "us-east-1")
    assert client.meta.region_name == "eu-central-1"
    assert client.meta.endpoint_url == "https://sqs.eu-central-1.amazonaws.com"
    client.close()


def test_the_setting_names_the_queue_and_without_it_there_is_none() -> None:
    found = build_resources(Settings(uploads_queue_url="https://sqs.eu-central-1.amazonaws.com/1/q"))["upload_queue"]
    assert isinstance(found, UploadQueue)
    assert found.url == "https://sqs.eu-central-1.amazonaws.com/1/q"
    none = build_resources(Settings())["upload_queue"]
    assert isinstance(none, UploadQueue)
    assert not none.is_set
