"""A push or pull in a process of its own, to be killed: python studio_child.py, with its orders as JSON on stdin."""

import json
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[3])]
    from studio_world import asks, campaign_of, pulled

    from pipeline_assets.labeling.exchange.label_studio import LabelStudio
    from pipeline_assets.labeling.exchange.projects import Tool
    from pipeline_assets.labeling.exchange.push import push
    from resources.database.postgres import Postgres
    from resources.database.sqlite import Sqlite

    orders = json.load(sys.stdin)
    database = (Sqlite if orders["database"].startswith("sqlite") else Postgres)(url=orders["database"])
    campaign = campaign_of(name=orders["campaign"])
    with LabelStudio(orders["url"], orders["token"]) as client:
        tool = Tool(orders["tool"], client, database, lambda line: print(line, flush=True))
        if orders["what"] == "push":
            print(push(tool, campaign, asks(campaign, orders["number"], predicted=True), batch=5, settle_s=20)[1])
        else:
            print(pulled(tool, campaign, page_size=5))
