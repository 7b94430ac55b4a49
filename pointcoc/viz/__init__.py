"""Pictures of clusters."""

from pointcoc.viz.clusters import cluster_colors, cluster_map, draw_clusters

__all__ = ["cluster_colors", "cluster_map", "draw_clusters"]
