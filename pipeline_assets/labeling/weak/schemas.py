"""Contracts of the tables of labeling functions."""

import dataframely as dy

from pipeline_assets.labeling.schemas import TARGETS


class _WeakItem(dy.Schema):
    """An item of a campaign that has labeling functions, as in `LabelTasks`."""

    day = dy.Date(primary_key=True, description="UTC upload day of the item")
    task_key = dy.String(primary_key=True, regex="^[0-9a-f]{64}$", description="as in label_tasks")
    campaign = dy.String()
    version = dy.Int64(min=1, description="of the question")
    key = dy.String(description="object key of the upload")
    target = dy.String(check=lambda c: c.is_in(list(TARGETS)))


class WeakVotes(_WeakItem):
    """What labeling functions say of one item."""

    votes_json = dy.String(description="class by function, without those that abstain")
    functions_json = dy.String(description="the campaign's functions that were asked, in order")
    gold_json = dy.String(nullable=True, description="the known answer, where there is one")
    campaign_json = dy.String(description="the campaign without its gold answers, as it was when the day was computed")


class WeakLabels(_WeakItem):
    """The label of one item by labeling functions."""

    votes_json = dy.String(description="class by function, without those that abstain")
    answer_json = dy.String(nullable=True, description="null if every function abstains, or for a tie")
    probability = dy.Float64(nullable=True, min=0, max=1, description="of the answer, by the method")
    method = dy.String(description="`majority`, or the model that beats it on the development set")
    fell_back = dy.Bool(description="no model surely beats majority on the development set, or it has too few items")
    development_items = dy.Int64(min=0, description="items of earlier days whose truth is known")
    gain = dy.Float64(
        nullable=True, description="share of the development set that the best model answers right more than majority"
    )
    gain_low = dy.Float64(
        nullable=True, description="95 % bound of the gain: at 0 or below, it may be luck, and majority is used"
    )
    gain_high = dy.Float64(nullable=True)


class WeakFunctions(dy.Schema):
    """How good one labeling function is on a day, with its accuracy on the development set."""

    day = dy.Date(primary_key=True)
    campaign = dy.String(primary_key=True)
    version = dy.Int64(primary_key=True)
    function = dy.String(primary_key=True)
    items = dy.Int64(min=0, description="of the campaign on the day")
    coverage = dy.Float64(min=0, max=1, description="share of the items on which it votes")
    overlap = dy.Float64(min=0, max=1, description="share on which it and another one vote")
    conflict = dy.Float64(min=0, max=1, description="share on which another one votes for another class")
    answers = dy.Int64(min=0, description="its votes on items of earlier days whose truth is known")
    correct = dy.Int64(min=0)
    accuracy = dy.Float64(nullable=True, min=0, max=1)
    accuracy_low = dy.Float64(nullable=True, min=0, max=1, description="Wilson's 95 % bound")
    accuracy_high = dy.Float64(nullable=True, min=0, max=1)
