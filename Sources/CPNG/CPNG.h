// libpng: the simplified API (png_image) needs no setjmp, which Swift cannot call.
#pragma once
#include <png.h>
