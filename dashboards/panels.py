"""The house style: how panels look, what they show without data, and how they are laid out.

Knows Grafana's builders and none of the metrics.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import TypeVar

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    GraphDrawStyle,
    GraphTresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    LineInterpolation,
    ScaleDistribution,
    SortOrder,
    StackingMode,
    TableSortByFieldState,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    GridPos,
    RowPanel,
    Threshold,
    ThresholdsConfig,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

PROMETHEUS = DataSourceRef(type_val="prometheus", uid="${datasource}")
NO_DATA = "no data"
"""Unknown is not zero: an empty panel shows this, and its description names what may be missing."""
UNKNOWN = "–"
"""The same in a cell of a table."""
COUNT = "none"
"""The unit of a number that is read exactly. With "short", 1045 would be 1 K."""

GREEN, YELLOW, ORANGE, RED, BLUE, GRAY = "green", "yellow", "orange", "red", "blue", "#808080"
"""For limits and states; figures have those of `exporter.web.palette`."""
WIDTH = 24
_REFERENCES = ascii_uppercase
"""The names of a panel's queries."""

DASHED = DynamicConfigValue(id_val="custom.lineStyle", value={"fill": "dash", "dash": [8, 6]})
"""The property of a series that is a limit, or is expected."""

Steps = Sequence[tuple[float | None, str]]
"""The color from each value on; the first has no value."""
FULLNESS: Steps = ((None, GREEN), (0.8, YELLOW), (0.95, RED))
"""For the used share of a resource."""


PanelBuilder = timeseries.Panel | stat.Panel | statetimeline.Panel | heatmap.Panel | table.Panel
_Builder = TypeVar("_Builder", bound=PanelBuilder)

Names = Mapping[int | str, tuple[str, str]]
"""What is shown for each value, and its color."""


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL query, the name of its series, and how a graph draws them."""

    expr: str
    legend: str = ""
    color: str | None = None
    """That of a figure (`exporter.web.palette`); None for one of Grafana's own for each series."""
    dashed: bool = False
    """For limits and for what is expected, which are beside what is."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A panel and its size: columns of 24, rows of some 30 pixels."""

    panel: PanelBuilder
    width: int
    height: int = 8


@dataclass(frozen=True, slots=True)
class Section:
    """A titled part of a dashboard; its panels flow from left to right."""

    title: str
    panels: Sequence[Placed]
    closed: bool = False
    """Whether only the title is shown at first: for what most fleets have no data of. It asks nothing until opened."""


def lay_out(made: dashboard.Dashboard, sections: Sequence[Section]) -> None:
    """Add the sections to the dashboard, below each other."""
    y = number = 0
    for section in sections:
        number += 1
        row = RowPanel(title=section.title, id_val=number, grid_pos=GridPos(h=1, w=WIDTH, x=0, y=y))
        row.collapsed = section.closed
        made.with_row(_Row(row))
        y += 1
        x = row_height = 0
        for placed in section.panels:
            if x + placed.width > WIDTH:
                x, y, row_height = 0, y + row_height, 0
            number += 1
            placed.panel.id(number)
            placed.panel.grid_pos(GridPos(h=placed.height, w=placed.width, x=x, y=y))
            if section.closed:
                row.panels.append(placed.panel.build())
            else:
                made.with_panel(placed.panel)
            x, row_height = x + placed.width, max(row_height, placed.height)
        # The panels of a closed row are within it: what is below stands right under its title.
        y += 0 if section.closed else row_height


class _Row(Builder[RowPanel]):
    """A row as it is: the SDK's own builder would place it by itself."""

    def __init__(self, panel: RowPanel) -> None:
        self.panel = panel

    def build(self) -> RowPanel:
        return self.panel


def uncolored(steps: Steps) -> Steps:
    """Return the steps with a plain color below 0, which Grafana also gives what is unknown: it is not good or bad."""
    (_, first), *rest = steps
    return ((None, "text"), (0, first), *rest)


def thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    """Return thresholds by value."""
    colors = [Threshold(value=value, color=color) for value, color in steps]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(colors)


def graph(
    title: str,
    description: str,
    queries: Sequence[Query],
    *,
    unit: str = "short",
    limits: Steps = (),
    stacked: bool = False,
    colors: Mapping[str, str] | None = None,
    legend: LegendPlacement | None = LegendPlacement.BOTTOM,
) -> timeseries.Panel:
    """Return lines over time; `colors` are those of series by their names, where one query has several of them.

    `legend` is None where there may be dozens of lines, such as one for each agent: the names would take the room of
    the lines, and pointing at a line shows them anyway, the highest first.
    """
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .unit(unit)
        .min(0)
        .no_value(NO_DATA)
        .draw_style(GraphDrawStyle.LINE)
        .line_width(2 if not stacked else 1)
        .fill_opacity(60 if stacked else 0)
        .show_points(VisibilityMode.NEVER)
        .line_interpolation(LineInterpolation.STEP_AFTER if stacked else LineInterpolation.LINEAR)
        .legend(_legend(legend))
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    )
    if stacked:
        panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    if limits:
        panel.thresholds(thresholds(limits))
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphTresholdsStyleMode.DASHED))
    for name, color in (colors or {}).items():
        panel.override_by_name(name, [fixed(color)])
    for reference, query in zip(_REFERENCES, queries, strict=False):
        style = [fixed(query.color)] if query.color else []
        if query.dashed:
            style.append(DASHED)
        if style:
            panel.override_by_query(reference, style)
    return _asking(panel, queries)


def fixed(color: str) -> DynamicConfigValue:
    """Return the property of a series that has a color of its own."""
    return DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": color})


def figure(
    title: str,
    description: str,
    queries: Sequence[Query],
    *,
    unit: str = COUNT,
    limits: Steps = ((None, BLUE),),
    decimals: int | None = None,
    text: bool = False,
) -> stat.Panel:
    """Return the latest value in large type; with `text` the name of the series instead."""
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .unit(unit)
        .no_value(NO_DATA)
        .thresholds(thresholds(uncolored(limits)))
        .color_mode(BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.NONE)
        .text_mode(BigValueTextMode.NAME if text else BigValueTextMode.AUTO)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    if decimals is not None:
        panel.decimals(decimals)
    return _asking(panel, queries, instant=True)


def timeline(title: str, description: str, queries: Sequence[Query], names: Names) -> statetimeline.Panel:
    """Return states over time; `names` has the meaning and the color of each number."""
    return _asking(
        statetimeline.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .no_value(NO_DATA)
        .mappings([_mapping(names)])
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .thresholds(thresholds([(None, GRAY)]))
        .merge_values(True)
        .show_value(VisibilityMode.NEVER)
        .row_height(0.8)
        .fill_opacity(70)
        .line_width(0)
        .legend(_legend(LegendPlacement.BOTTOM)),
        queries,
    )


def spread(title: str, description: str, queries: Sequence[Query], *, unit: str = "short") -> heatmap.Panel:
    """Return the distribution of the series over time."""
    return _asking(
        heatmap.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .unit(unit)
        .no_value(NO_DATA)
        .calculate(True)
        .scale_distribution(common.ScaleDistributionConfig().type(ScaleDistribution.LINEAR)),
        queries,
    )


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: the field it is made of, its title, unit and colors."""

    field: str
    title: str
    unit: str = COUNT
    limits: Steps = ()
    names: Names | None = None
    decimals: int | None = None
    width: int | None = None
    """Pixels. Grafana's own choice, for a column without it, is an equal part of the rest, and at least 150."""
    links: Sequence[dashboard.DashboardLink] = ()
    """Where a click on a cell leads to."""


def listing(
    title: str,
    description: str,
    queries: Sequence[Query],
    columns: Sequence[Column],
    *,
    by: tuple[str, bool] | None = None,
    empty: str = NO_DATA,
) -> table.Panel:
    """Return a table: the latest values of all queries, a row per set of labels. Fields without a column are hidden.

    The field of a value is `Value #A` for the first query, `Value #B` for the second, and so on; `Value` for the only
    one. No query may return names of series: Grafana takes these for labels, and each figure would have rows of its
    own. `by` is the title of the column that the rows are in order of at first, and whether from the highest down.
    `empty` is shown for a table without rows.
    """
    panel = (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .no_value(empty)
        .show_header(True)
        .with_transformation(DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(
            DataTransformerConfig(
                id_val="filterFieldsByName", options={"include": {"names": [column.field for column in columns]}}
            )
        )
        .with_transformation(
            DataTransformerConfig(
                id_val="organize",
                options={
                    "indexByName": {column.field: index for index, column in enumerate(columns)},
                    "renameByName": {column.field: column.title for column in columns},
                },
            )
        )
    )
    for column in columns:
        panel.override_by_name(column.title, _column_style(column))
    if by:
        panel.sort_by([_Order(*by)])
    return _asking(panel, queries, instant=True, as_table=True)


class _Order(Builder[TableSortByFieldState]):
    def __init__(self, title: str, descending: bool) -> None:
        self._state = TableSortByFieldState(display_name=title, desc=descending)

    def build(self) -> TableSortByFieldState:
        return self._state


def _column_style(column: Column) -> list[DynamicConfigValue]:
    style = [
        DynamicConfigValue(id_val="unit", value=column.unit),
        DynamicConfigValue(id_val="noValue", value=UNKNOWN),
    ]
    if column.decimals is not None:
        style.append(DynamicConfigValue(id_val="decimals", value=column.decimals))
    if column.limits:
        steps = [Threshold(value=value, color=color) for value, color in uncolored(column.limits)]
        config = ThresholdsConfig(mode=ThresholdsMode.ABSOLUTE, steps=steps)
        style.append(DynamicConfigValue(id_val="thresholds", value=config))
    if column.names:
        style.append(DynamicConfigValue(id_val="mappings", value=[_mapping(column.names)]))
        # They are words, not numbers.
        style.append(DynamicConfigValue(id_val="custom.align", value="left"))
    if column.limits or column.names:
        style.append(DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"}))
    if column.width is not None:
        style.append(DynamicConfigValue(id_val="custom.width", value=column.width))
    if column.links:
        style.append(DynamicConfigValue(id_val="links", value=[link.build() for link in column.links]))
    return style


def _mapping(names: Names) -> ValueMap:
    return ValueMap(
        options={
            str(number): ValueMappingResult(text=text, color=color, index=index)
            for index, (number, (text, color)) in enumerate(names.items())
        }
    )


def _legend(placement: LegendPlacement | None) -> common.VizLegendOptions:
    options = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST)
    return options.placement(placement or LegendPlacement.BOTTOM).show_legend(placement is not None)


def _asking(panel: _Builder, queries: Sequence[Query], *, instant: bool = False, as_table: bool = False) -> _Builder:
    """Give a panel its queries, named A, B, C and so on."""
    for reference, query in zip(_REFERENCES, queries, strict=False):
        target = prometheus.Dataquery().datasource(PROMETHEUS).expr(query.expr).ref_id(reference)
        target.legend_format(query.legend or "__auto")
        if instant:
            target.instant()
        else:
            target.range()
        if as_table:
            target.format(PromQueryFormat.TABLE)
        panel.with_target(target)
    return panel
