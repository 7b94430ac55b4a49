"""Pictures of clusters: maps as numbers, figures, pages to explore. What draws needs the extra `viz`."""

from pointcoc.viz.colors import center_colors, cluster_colors, color_distance
from pointcoc.viz.figures import draw_clusters, draw_grid, draw_hierarchy, draw_panel, draw_sizes, draw_stages
from pointcoc.viz.maps import cluster_map, cluster_sizes, overlay, point_colors
from pointcoc.viz.trace import Trace, trace

__all__ = [
    "Trace",
    "center_colors",
    "cluster_colors",
    "cluster_map",
    "cluster_sizes",
    "color_distance",
    "draw_clusters",
    "draw_grid",
    "draw_hierarchy",
    "draw_panel",
    "draw_sizes",
    "draw_stages",
    "overlay",
    "point_colors",
    "trace",
]
