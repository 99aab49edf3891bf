"""Lines over several points a seed: means as marks and lines, seeds as faint dots."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes


def mean_and_seeds(
    ax: Axes, table: pd.DataFrame, x: str, y: str, hue: str, *, point: str = "", legend: bool = True
) -> None:
    """A line a group through the means over seeds; ``table`` is tidy, one row a seed, group and point.

    point: the column that says which rows of the seeds belong together, where ``x`` is measured too.
    """
    means = table.groupby([hue, point or x], sort=False, as_index=False).mean(numeric_only=True)
    order = list(dict.fromkeys(table[hue]))
    common = {"x": x, "y": y, "hue": hue, "hue_order": order, "palette": "colorblind", "ax": ax}
    sns.lineplot(means, **common, style=hue, style_order=order, markers=True, dashes=False, legend=legend)
    sns.scatterplot(table, **common, s=12, alpha=0.4, linewidth=0, legend=False)
    if legend:
        ax.legend(title="", frameon=False, fontsize="small")
