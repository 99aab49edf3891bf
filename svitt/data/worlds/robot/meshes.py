"""Coarser meshes for small pictures.

The robot's parts have 68,000 triangles, most of them smaller than a pixel of a clip, and drawing them is what
a clip costs. Corners that share a cell of a grid become one, triangles that lose a corner go.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def coarsen(model: Any, meshes: list[int], cell: float) -> int:
    """Coarsens meshes of a MuJoCo model in place, before it is first drawn; returns the triangles left.

    cell: side of the grid in metres. Bodies move and collide as before: that is computed from other arrays.
    """
    left = 0
    for mesh in meshes:
        first, count = model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
        corner, corners = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
        cells = np.round(model.mesh_vert[corner : corner + corners] / cell).astype(np.int64)
        _, chosen, group = np.unique(cells, axis=0, return_index=True, return_inverse=True)
        faces = chosen[group.reshape(-1)][model.mesh_face[first : first + count]]
        a, b, c = np.sort(faces, axis=1).T
        _, distinct = np.unique(np.stack([a, b, c], axis=1), axis=0, return_index=True)
        kept = np.sort(distinct[(a != b)[distinct] & (b != c)[distinct]])
        places = slice(first, first + len(kept))
        for name in ("mesh_facenormal", "mesh_facetexcoord"):
            table = getattr(model, name)
            table[places] = table[first + kept]
        model.mesh_face[places] = faces[kept]
        model.mesh_facenum[mesh] = len(kept)
        left += len(kept)
    return left
