"""Features per author from a week of outputs, as features.sql has them, by pandas.

    python features.py week
"""

import sys
from pathlib import Path

import pandas as pd


def features(week):
    """The tables author_features and author_brands of the outputs week/night=*."""
    posts = pd.concat(
        pd.read_parquet(part, columns=["post_id", "author", "time", "brand", "probability"])
        .assign(night=part.parent.parent.name.removeprefix("night="))
        for part in sorted(Path(week).glob("night=*/scores/*.parquet")))
    posts = posts[posts.author.notna()]
    # A post that was scored in several nights counts as the last of them has it.
    posts = posts.sort_values("night", kind="stable").drop_duplicates("post_id", keep="last")
    posts["probability"] = posts.probability.astype("float64")
    posts["logo"] = posts.brand != "no-logo"

    brands = posts[posts.logo].groupby(["author", "brand"], as_index=False).agg(
        posts=("post_id", "size"), weight=("probability", "sum"), last_seen=("time", "max"))
    authors = posts.groupby("author", as_index=False).agg(
        posts=("post_id", "size"), logo_share=("logo", "mean"), last_seen=("time", "max"))
    distinct = brands.groupby("author").size()
    authors.insert(3, "brands", authors.author.map(distinct).fillna(0).astype(int))
    return authors, brands


if __name__ == "__main__":
    for table in features(sys.argv[1]):
        print(table.to_string(index=False), end="\n\n")
