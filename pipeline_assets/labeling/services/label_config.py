"""Label Studio's labeling interface for a campaign: the XML that shows an item and asks for an answer. Pure.

The control is called `answer` and the item `item`, as in `label_studio_results`. Nothing in it tells gold questions apart.
Source: labelstud.io/tags.
"""

from collections.abc import Sequence
from xml.sax.saxutils import quoteattr

from pipeline_assets.labeling.campaigns.campaign import Campaign
from pipeline_assets.labeling.services.label_studio_results import FROM_NAME, TO_NAME

OBJECTS = ("image", "audio", "video", "text")
"""Fields of a task's data that hold the content, by the kind of media."""
_CONTROLS = {
    "boxes": ("RectangleLabels", ' canRotate="true"'),
    "polygons": ("PolygonLabels", ""),
    "masks": ("BrushLabels", ""),
    "points": ("KeyPointLabels", ""),
    "segments": ("Labels", ""),
    "spans": ("Labels", ""),
}
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
"""Colours that colour-blind people tell apart (Okabe and Ito)."""


def content_of(campaign: Campaign) -> str:
    """The field of a task's data that its content is in: `text` for titles, else by the first pattern of media types."""
    major = campaign.media[0].partition("/")[0] if campaign.target == "upload" and campaign.media else "text"
    return major if major in OBJECTS else "text" if campaign.target == "title" else "image"


def label_config(campaign: Campaign) -> str:
    """The labeling interface as XML."""
    content = content_of(campaign)
    shown = _object(campaign, content)
    asked = _control(campaign)
    header = f'<Header value={_quoted(campaign.question)} size="4"/>'
    # Above the item, where nobody has to scroll for it.
    return "<View>\n" + "\n".join(f"  {part}" for part in (header, asked, shown)) + "\n</View>"


def _object(campaign: Campaign, content: str) -> str:
    if content == "video" and campaign.kind == "segments":
        # Times are read off its sound track, in seconds; the picture follows.
        video = '<Video name="video" value="$video" sync="item"/>'
        return f'{video}<Audio name="{TO_NAME}" value="$video" sync="video"/>'
    options = {"image": ' zoom="true" zoomControl="true" rotateControl="false"'}.get(content, "")
    return f'<{content.capitalize()} name="{TO_NAME}" value="${content}"{options}/>'


def _control(campaign: Campaign) -> str:
    names = f'name="{FROM_NAME}" toName="{TO_NAME}"'
    if campaign.kind == "text":
        return f'<TextArea {names} rows="3" maxSubmissions="1" editable="true" required="true"/>'
    if campaign.kind in ("class", "classes"):
        single = campaign.kind == "class"
        options = 'choice="single" required="true"' if single else 'choice="multiple"'
        return f'<Choices {names} {options} showInline="true">{_values("Choice", campaign.classes)}</Choices>'
    if campaign.kind == "ranking":
        return f'<Ranker name="{FROM_NAME}" toName="ranked"/><List name="ranked" value="$items" title="Best first"/>'
    tag, options = _CONTROLS[campaign.kind]
    return f"<{tag} {names}{options}>{_values('Label', campaign.classes, coloured=True)}</{tag}>"


def _values(tag: str, classes: Sequence[str], *, coloured: bool = False) -> str:
    def one(number: int, name: str) -> str:
        colour = f' background="{_COLOURS[number % len(_COLOURS)]}"' if coloured else ""
        return f"<{tag} value={_quoted(name)}{colour}/>"

    return "".join(one(number, name) for number, name in enumerate(classes))


def _quoted(text: str) -> str:
    """An attribute's value with its quotes. Control characters, which XML can't have, are left out."""
    kept = "".join(character for character in text if character >= " " or character in "\t\n")
    return quoteattr(kept.replace("\ufffe", "").replace("\uffff", ""))
