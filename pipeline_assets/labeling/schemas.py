"""Contracts of the labeling tables."""

import dataframely as dy

TARGETS = ("upload", "title")


class Annotations(dy.Schema):
    """The labels of one upload or title, by day of the upload."""

    day = dy.Date(primary_key=True)
    key = dy.String(primary_key=True, description="object key of the upload")
    target = dy.String(
        primary_key=True,
        check=lambda c: c.is_in(list(TARGETS)),
        description="what was annotated: the `upload` itself, or its photo's `title`",
    )
    sha256 = dy.String(
        regex="^[0-9a-f]{64}$", description="of the annotated content: the upload's bytes, or the title's text"
    )
    labels_json = dy.String(
        description="canonical JSON: `boxes` of photos and clips (x, y, width, height in pixels, upright), `masks` of "
        "photos (polygons: lists of x0, y0, x1, y1, ...), `segments` of recordings and clips (start_s, end_s), `spans` of "
        "titles (start, end, text), `classes` by campaign, and other keys"
    )
    annotator = dy.String(nullable=True, description="the person or tool, as in the database; null for a consensus")
    annotated_at = dy.Datetime(time_zone="UTC")
    provenance_json = dy.String(
        nullable=True, description="the consensuses in it: campaign, version, method, votes, adjudicator"
    )


class _Item(dy.Schema):
    """The item that a question is about."""

    day = dy.Date(primary_key=True, description="UTC upload day of the item")
    task_key = dy.String(
        primary_key=True,
        regex="^[0-9a-f]{64}$",
        description="sha256 of campaign, version of the question, target and content: equal contents are asked once",
    )
    campaign = dy.String(description="name of the file in campaigns/")
    version = dy.Int64(min=1, description="of the question")
    key = dy.String(description="object key of the upload")
    target = dy.String(check=lambda c: c.is_in(list(TARGETS)), description="what is asked about: `upload`, or its `title`")
    sha256 = dy.String(regex="^[0-9a-f]{64}$", description="of the content: the upload's bytes, or the title's text")


class LabelTasks(_Item):
    """One question about one item of a campaign, by day of the upload."""

    media_type = dy.String(nullable=True)
    width_px = dy.Int32(nullable=True, description="after EXIF orientation")
    height_px = dy.Int32(nullable=True, description="after EXIF orientation")
    duration_s = dy.Float64(nullable=True, min=0)
    title = dy.String(nullable=True)
    slice = dy.String(nullable=True, description="the first of the campaign's slices that the item belongs to")
    priority = dy.Float64(min=0, max=1, description="what is asked first: 1 minus the probability of the prediction")
    reason = dy.String(
        check=lambda c: c.is_in(["gold", "random", "uncertain", "new"]),
        description="why it has this priority: a known answer, a random choice, the prediction's doubt, or no prediction",
    )
    is_gold = dy.Bool(description="whether the answer is known; annotators are never told")
    gold_json = dy.String(nullable=True, description="the known answer; it leaves this table for no tool")
    votes_wanted = dy.Int64(min=1)
    prediction_json = dy.String(nullable=True, description="an answer proposed by a model")
    prediction_probability = dy.Float64(nullable=True, min=0, max=1)
    prediction_model = dy.String(nullable=True)


class LabelVotes(_Item):
    """One answer of one person, in its newest revision. Persons are pseudonyms."""

    source = dy.String(primary_key=True, description="the tool or service that it came from")
    source_id = dy.String(primary_key=True, description="the tool's id of the answer")
    revision = dy.Int64(min=0, description="rises with each edit of the answer")
    annotator = dy.String(description="pseudonym; the table label_annotators of the database knows the person")
    answered_at = dy.Datetime(time_zone="UTC")
    arrived_at = dy.Datetime(time_zone="UTC", description="when the database had it: nothing knew of it before")
    lead_time_s = dy.Float64(nullable=True, min=0, description="time spent on the answer, as the tool measured it")
    answer_json = dy.String(nullable=True, description="the answer in the form of its kind; null if it was taken back")
    is_cancelled = dy.Bool(description="the person skipped the task")
    is_deleted = dy.Bool(description="the answer was deleted in the tool")
    is_adjudication = dy.Bool(description="an adjudicator's answer, which decides")
    counts = dy.Bool(description="whether it is a vote: not skipped or deleted, and the person's newest answer to the task")
    is_gold = dy.Bool(description="whether the answer to the task is known")
    is_gold_correct = dy.Bool(nullable=True, description="null where no answer is known, or none was given")
    campaign_json = dy.String(description="the campaign without its gold answers, as it was when the day was computed")


class LabelConsensus(_Item):
    """The answer to one question about one item, out of the votes of all who were asked, or by an adjudicator."""

    kind = dy.String(description="of answer: class, boxes, spans ...")
    answer_json = dy.String(nullable=True, description="null where no answer has enough votes")
    confidence = dy.Float64(
        nullable=True,
        min=0,
        max=1,
        # It moves a little with each vote of anybody: that alone makes no label another one.
        metadata={"volatile": True},
        description="that the answer is right, by what its voters are worth",
    )
    method = dy.String(description="how votes became an answer")
    votes = dy.Int64(min=0)
    fell_back = dy.Bool(description="whether too little is known of the voters, so that the majority decides")
    needs_adjudication = dy.Bool(description="whether a person should decide: low confidence, or a conflict")
    reason = dy.String(nullable=True, metadata={"volatile": True}, description="why a person should decide")
    adjudicator = dy.String(nullable=True, description="pseudonym of who decided")
    answered_at = dy.Datetime(time_zone="UTC", description="of the newest answer that counts")
    arrived_at = dy.Datetime(time_zone="UTC", description="of the newest answer that counts")
    is_promoted = dy.Bool(description="whether it becomes a label in `annotations`: sure enough, and the campaign promotes")


class LabelAgreement(dy.Schema):
    """How far people agree on one day's items of a campaign. Null: it is not known, and `reason` says why."""

    day = dy.Date(primary_key=True)
    campaign = dy.String(primary_key=True)
    version = dy.Int64(primary_key=True, min=1)
    items = dy.Int64(min=0, description="with at least two votes")
    votes = dy.Int64(min=0)
    alpha_nominal = dy.Float64(nullable=True, max=1, description="Krippendorff's alpha")
    alpha_ordinal = dy.Float64(nullable=True, max=1, description="the same, where classes have an order")
    alpha_interval = dy.Float64(nullable=True, max=1, description="the same, where classes are equally far apart")
    alpha_low = dy.Float64(
        nullable=True, description="lower end of a bootstrap interval of 95 % over items, of the scale's alpha"
    )
    alpha_high = dy.Float64(nullable=True, description="its upper end")
    fleiss_kappa = dy.Float64(nullable=True, max=1)
    cohen_kappa = dy.Float64(nullable=True, max=1, description="mean over pairs of annotators, by their common items")
    region_agreement = dy.Float64(nullable=True, min=0, max=1, description="of boxes, masks, spans: the mean overlap")
    reason = dy.String(nullable=True)


class AnnotatorQuality(dy.Schema):
    """How good one annotator of a campaign is, as known from the answers of the last days."""

    day = dy.Date(primary_key=True)
    campaign = dy.String(primary_key=True)
    version = dy.Int64(primary_key=True, min=1)
    annotator = dy.String(primary_key=True, description="pseudonym")
    answers = dy.Int64(min=0)
    gold_answers = dy.Int64(min=0, description="to questions whose answer is known")
    gold_correct = dy.Int64(min=0)
    gold_low = dy.Float64(nullable=True, min=0, max=1, description="lower Wilson bound of 95 % on the share of correct ones")
    gold_high = dy.Float64(nullable=True, min=0, max=1, description="upper Wilson bound")
    accuracy = dy.Float64(nullable=True, min=0, max=1, description="as estimated from agreement with all others")
    is_own_accuracy = dy.Bool(description="whether the accuracy is of their own answers, and not the mean of all")
    confusion_json = dy.String(nullable=True, description="counts of the consensus's class and of the annotator's")
    median_lead_s = dy.Float64(nullable=True, min=0)
    cancelled_share = dy.Float64(nullable=True, min=0, max=1, description="of the tasks that were shown")
    cost = dy.Float64(nullable=True, min=0, description="answers at the campaign's price, in its currency")
    tier = dy.String(check=lambda c: c.is_in(["new", "annotator", "qc", "blocked"]))
    reason = dy.String(description="why this tier")
