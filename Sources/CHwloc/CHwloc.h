// hwloc: cores, NUMA nodes and bindings. Open MPI brings it along.
#pragma once
#include <hwloc.h>
