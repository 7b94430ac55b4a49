"""Pictures of clusters: maps as numbers, figures, pages to explore, quality. They need the extra `viz`."""

from pointcoc.viz.animate import EpochMaps, animate
from pointcoc.viz.colors import center_colors, cluster_colors, color_distance
from pointcoc.viz.explore import Exhibit, explore_page
from pointcoc.viz.figure4 import activation_maps, attention_maps, figure4
from pointcoc.viz.figures import (
    draw_clusters,
    draw_grid,
    draw_hierarchy,
    draw_panel,
    draw_sizes,
    draw_stages,
)
from pointcoc.viz.inputs import cloud_input, image_input, read_cloud, read_picture, trace_file
from pointcoc.viz.maps import cluster_map, cluster_sizes, overlay, point_colors
from pointcoc.viz.quality import SegmentQuality, cluster_segments, segment_quality
from pointcoc.viz.shipped import shipped_network
from pointcoc.viz.trace import Trace, trace

__all__ = [
    "EpochMaps",
    "Exhibit",
    "SegmentQuality",
    "Trace",
    "activation_maps",
    "animate",
    "attention_maps",
    "center_colors",
    "cloud_input",
    "cluster_colors",
    "cluster_map",
    "cluster_segments",
    "cluster_sizes",
    "color_distance",
    "draw_clusters",
    "draw_grid",
    "draw_hierarchy",
    "draw_panel",
    "draw_sizes",
    "draw_stages",
    "explore_page",
    "figure4",
    "image_input",
    "overlay",
    "point_colors",
    "read_cloud",
    "read_picture",
    "segment_quality",
    "shipped_network",
    "trace",
    "trace_file",
]
