// zlib: gz* read plain and gzip files alike.
#pragma once
#include <zlib.h>
