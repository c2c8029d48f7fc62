// OpenBLAS: cblas_* and openblas_* are plain functions; nothing to shim but the include.
#pragma once
#include <cblas.h>
