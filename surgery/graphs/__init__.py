"""Graphs: a module's own code, or a whole model, as a graph with the parts' names."""

from surgery.graphs._names import Agreement as Agreement
from surgery.graphs._names import agreement as agreement
from surgery.graphs._names import name_nodes as name_nodes
from surgery.graphs._own_code import OwnCode as OwnCode
from surgery.graphs._own_code import compiled as compiled
from surgery.graphs._own_code import trace_own_code as trace_own_code
from surgery.graphs._twin import is_ours as is_ours
from surgery.graphs._twin import twin as twin
from surgery.graphs._whole import export_copy as export_copy
from surgery.graphs._whole import export_graph as export_graph
from surgery.graphs._whole import symbolic_graph as symbolic_graph
