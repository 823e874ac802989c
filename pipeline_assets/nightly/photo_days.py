"""Reports photos of the application's database whose day is no partition: no run reads them."""

from datetime import date

from resources.database.contract import Database, Twin

_OUTSIDE = Twin(
    postgres="select count(*) as photos from photos where isfinite(day) and (day < $1 or day > $2)",
    sqlite="select count(*) as photos from photos "
    "where typeof(day) = 'text' and date(day) = day and (day < date($1) or day > date($2))",
)


def set_aside(database: Database, first: date, today: date) -> list[str]:
    """A sentence with the number of photos before the first partition or after today; empty if there are none."""
    photos = int(database.read(_OUTSIDE, (first, today)).item())
    if not photos:
        return []
    are = "photo of the database is" if photos == 1 else "photos of the database are"
    return [
        f"{photos:,} {are} set aside: before the first partition, {first}, or of a day that has not begun. Correct `day` "
        "in the table `photos`, or set DARKROOM_FIRST_DAY."
    ]
