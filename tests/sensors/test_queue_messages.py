"""What a message of the upload queue says: three forms, and bad input by the dozen."""

import copy
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensors.queue_messages import CreatedObject, Reading, read_message

BUCKET = "uploads"
KEY = "uploads/2026-02-01/1/a b+c ü.jpg"
AT = "2026-02-01T12:00:00.250Z"
CREATED = CreatedObject(KEY, "v1", "0123abc", 7, datetime(2026, 2, 1, 12, 0, 0, 250_000, tzinfo=UTC))


def record(**changes: Any) -> dict[str, Any]:
    """One record of an S3 event notification, as Amazon documents it (version 2.5)."""
    about = {"key": quote_plus(KEY), "size": 7, "eTag": "0123abc", "versionId": "v1", "sequencer": "0055AED6DCD90281E5"}
    return {
        "eventVersion": "2.5",
        "eventSource": "aws:s3",
        "awsRegion": "us-west-2",
        "eventTime": changes.pop("time", AT),
        "eventName": changes.pop("name", "ObjectCreated:Put"),
        "userIdentity": {"principalId": "AWS:EXAMPLE"},
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810", "x-amz-id-2": "FMyUVURIY8"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "darkroom",
            "bucket": {"name": changes.pop("bucket", BUCKET), "arn": "arn:aws:s3:::uploads"},
            "object": {name: value for name, value in {**about, **changes}.items() if value is not ...},
        },
    }


def notification(*records: Any) -> str:
    return json.dumps({"Records": list(records or [record()])})


def eventbridge(**changes: Any) -> str:
    return json.dumps(
        {
            "version": "0",
            "id": "17793124-05d4-b198-2fde-7ededc63b103",
            "detail-type": changes.pop("name", "Object Created"),
            "source": "aws.s3",
            "time": AT,
            "region": "us-west-2",
            "detail": {
                "version": "0",
                "bucket": {"name": BUCKET},
                "object": {"key": KEY, "size": 7, "etag": "0123abc", "version-id": "v1", "sequencer": "1", **changes},
                "reason": "PutObject",
            },
        }
    )


def in_sns(body: str) -> str:
    return json.dumps({"Type": "Notification", "MessageId": "m", "TopicArn": "arn:aws:sns:x", "Message": body})


@pytest.mark.parametrize("body", [notification(), eventbridge(), in_sns(notification()), in_sns(eventbridge())])
def test_all_forms_say_the_same(body: str) -> None:
    assert read_message(body, BUCKET) == Reading((CREATED,))


def test_keys_are_decoded_in_notifications_and_taken_as_they_are_from_eventbridge() -> None:
    assert read_message(notification(record(key="a+b%2Bc%25")), BUCKET).created[0].key == "a b+c%"
    assert read_message(eventbridge(key="a+b%2B"), BUCKET).created[0].key == "a+b%2B"


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=50))
def test_any_key_is_read_back_from_its_encoding(key: str) -> None:
    assert read_message(notification(record(key=quote_plus(key))), BUCKET).created[0].key == key


def test_a_bucket_without_versions_names_none() -> None:
    assert read_message(notification(record(versionId=...)), BUCKET).created[0].version_id is None


@pytest.mark.parametrize("name", ["ObjectCreated:CompleteMultipartUpload", "ObjectCreated:Copy", "s3:ObjectCreated:Put"])
def test_every_kind_of_creation_counts(name: str) -> None:
    assert read_message(notification(record(name=name)), BUCKET).created == (CREATED,)


@pytest.mark.parametrize(
    "body",
    [
        notification(record(name="ObjectRemoved:Delete", size=..., eTag=...)),
        notification(record(name="ObjectRemoved:DeleteMarkerCreated")),
        notification(record(name="LifecycleExpiration:Delete")),
        eventbridge(name="Object Deleted"),
    ],
)
def test_what_is_no_creation_names_no_object(body: str) -> None:
    assert read_message(body, BUCKET) == Reading(ignored=1)


def test_the_test_event_of_a_new_subscription_says_nothing() -> None:
    body = json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": AT, "Bucket": BUCKET})
    assert read_message(body, BUCKET) == read_message(in_sns(body), BUCKET) == Reading()


def test_one_bad_record_does_not_cost_its_neighbours() -> None:
    found = read_message(notification(record(size="x"), record(), 7, None, record(bucket="theirs"), record()), BUCKET)
    assert found.created == (CREATED, CREATED)
    assert len(found.problems) == 4


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("", "not JSON"),
        ("x", "not JSON"),
        ("[]", "no object"),
        ("7", "no object"),
        ('"Records"', "no object"),
        ("{}", "no S3 event"),
        ('{"Records": 7}', "no S3 event"),
        ('{"Records": {}}', "no S3 event"),
        ('{"Records": [' + "9" * 5000 + "]}", "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 50_000, "nested too deeply"),
        ("x" * (2**20 + 1), "1,048,577 characters"),
        (json.dumps({"Type": "Notification", "TopicArn": "a", "Message": 7}), "no text in it"),
        (in_sns("x"), "not JSON"),
        (in_sns(in_sns(notification())), "no S3 event"),
        (notification({}), "has no name"),
        (notification(record(name=None)), "has no name"),
        (notification(record(key=...)), "no key"),
        (notification(record(key="")), "no key"),
        (notification(record(key=7)), "no key"),
        (notification(record(key="%00")), "NUL"),
        (notification(record(key="%ff%fe")), "not URL-encoded UTF-8"),
        (notification(record(key="a" * 5000)), "5000 bytes"),
        (notification(record(eTag=...)), "no ETag"),
        (notification(record(versionId="")), "no version id"),
        (notification(record(versionId=["v"])), "no version id"),
        (notification(record(size=-1)), "size"),
        (notification(record(size=2**63)), "size"),
        (notification(record(size=1.5)), "size"),
        (notification(record(size=True)), "size"),
        (notification(record(size="7")), "size"),
        (notification(record(time="soon")), "time"),
        (notification(record(time="2026-02-01T12:00:00")), "time"),
        (notification(record(time="0001-01-01T00:00:00Z")), "time"),
        (notification(record(time=7)), "time"),
        (notification(record(bucket="theirs")), "of the bucket 'theirs', not of 'uploads'"),
        (eventbridge(key="\ud800"), "not valid Unicode"),
        (eventbridge(key="a\x00"), "NUL"),
        (eventbridge(size=None), "size"),
    ],
)
def test_what_can_not_be_understood_is_a_problem_with_a_sentence(body: str, problem: str) -> None:
    found = read_message(body, BUCKET)
    assert found.created == ()
    assert len(found.problems) == 1
    assert problem in found.problems[0]
    assert len(found.problems[0]) < 300


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda v: st.lists(v, max_size=3), max_leaves=5
)


@given(st.sampled_from(["Records", "s3", "object", "bucket", "key", "size", "eTag", "eventName", "eventTime"]), json_values)
def test_any_value_in_any_place_is_read_without_an_exception(place: str, value: Any) -> None:
    message = {"Records": [copy.deepcopy(record())]}

    def replace(node: Any) -> None:
        for name, inner in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
            if name == place:
                node[name] = value
            else:
                replace(inner)

    replace(message)
    found = read_message(json.dumps(message), BUCKET)
    assert isinstance(found, Reading)


@given(st.text(max_size=200))
def test_any_text_is_read_without_an_exception(text: str) -> None:
    assert read_message(text, BUCKET).created == ()
