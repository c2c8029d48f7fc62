// libjpeg-turbo for Swift. The library reports errors by calling back a function that must not
// return, hence by longjmp, which Swift must not cross: every call that can fail is a function
// here that comes back with 0 instead. (Its other interface, TurboJPEG, has no such calls, but
// before version 3 cannot decode a part of a picture.)
#pragma once
#include <setjmp.h>
#include <stdio.h>  // Before jpeglib.h, which uses FILE and size_t but includes nothing.
#include <stdlib.h>
#include <string.h>
// The order matters.
#include <jpeglib.h>
// Numbers of the warnings; the library's public header lacks them.
#include <jerror.h>

#ifndef JCS_EXTENSIONS
#error "libjpeg-turbo is needed; another libjpeg cannot decode a part of a picture"
#endif

// Why a call failed.
enum {
  CJPEG_UNREADABLE = 1,      // The library refused: `text`.
  CJPEG_DAMAGED = 2,         // The library would go on with wrong pixels: `text`.
  CJPEG_TOO_MANY_SCANS = 3,  // More than `maximum_scans`.
};

typedef struct {
  struct jpeg_error_mgr errors;  // First: callbacks find the rest from its address.
  jmp_buf escape;
  int failure;
  char text[JMSG_LENGTH_MAX];
} cjpeg_failures;

typedef struct {
  cjpeg_failures failures;
  struct jpeg_progress_mgr progress;
  int maximum_scans;
  struct jpeg_decompress_struct info;
} cjpeg_decoder;

typedef struct {
  cjpeg_failures failures;
  struct jpeg_compress_struct info;
  unsigned char *bytes;
  unsigned long count;
} cjpeg_encoder;

// MARK: Callbacks, which have to be C: they leave by longjmp.

__attribute__((noreturn)) static inline void cjpeg_leave(j_common_ptr info, int failure) {
  cjpeg_failures *failures = (cjpeg_failures *)info->err;
  failures->failure = failure;
  if (failure != CJPEG_TOO_MANY_SCANS) info->err->format_message(info, failures->text);
  longjmp(failures->escape, 1);
}

__attribute__((noreturn)) static inline void cjpeg_error_exit(j_common_ptr info) {
  cjpeg_leave(info, CJPEG_UNREADABLE);
}

// Level -1 is a warning, others only tell what is going on. The warnings listed leave all pixels
// as they should be.
static inline void cjpeg_emit_message(j_common_ptr info, int level) {
  if (level >= 0) return;
  switch (info->err->msg_code) {
    case JWRN_ADOBE_XFORM:
    case JWRN_BOGUS_ICC:
    case JWRN_BOGUS_PROGRESSION:
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_JFIF_MAJOR:
    case JWRN_TOO_MUCH_DATA:
      return;
    default:
      cjpeg_leave(info, CJPEG_DAMAGED);
  }
}

// Called before every row of blocks of every scan of a file with several.
static inline void cjpeg_progress(j_common_ptr info) {
  cjpeg_decoder *decoder = (cjpeg_decoder *)info->err;
  if (decoder->info.input_scan_number > decoder->maximum_scans) {
    cjpeg_leave(info, CJPEG_TOO_MANY_SCANS);
  }
}

static inline struct jpeg_error_mgr *cjpeg_catch(cjpeg_failures *failures) {
  struct jpeg_error_mgr *errors = jpeg_std_error(&failures->errors);
  errors->error_exit = cjpeg_error_exit;
  errors->emit_message = cjpeg_emit_message;
  failures->failure = 0;
  failures->text[0] = 0;
  return errors;
}

// MARK: Decoding. Each returns 0 on failure; `cjpeg_end` has to follow `cjpeg_begin` in any case.

// Reads the header. A new decoder a picture: one that is used again keeps the tables of the
// picture before, with which a file without tables would be decoded.
static inline int cjpeg_begin(
    cjpeg_decoder *decoder, const unsigned char *bytes, unsigned long count, int keeps_exif) {
  struct jpeg_decompress_struct *info = &decoder->info;
  info->err = cjpeg_catch(&decoder->failures);
  if (setjmp(decoder->failures.escape)) return 0;
  jpeg_create_decompress(info);
  decoder->progress.progress_monitor = cjpeg_progress;
  info->progress = &decoder->progress;
  jpeg_mem_src(info, bytes, count);
  if (keeps_exif) jpeg_save_markers(info, JPEG_APP0 + 1, 0xFFFF);
  jpeg_read_header(info, TRUE);
  return 1;
}

static inline void cjpeg_end(cjpeg_decoder *decoder) { jpeg_destroy_decompress(&decoder->info); }

// From here to cjpeg_read_row: the library's calls behind a setjmp.
static inline int cjpeg_start(cjpeg_decoder *decoder) {
  if (setjmp(decoder->failures.escape)) return 0;
  return jpeg_start_decompress(&decoder->info);
}

static inline int cjpeg_crop(cjpeg_decoder *decoder, JDIMENSION *left, JDIMENSION *width) {
  if (setjmp(decoder->failures.escape)) return 0;
  jpeg_crop_scanline(&decoder->info, left, width);
  return 1;
}

static inline int cjpeg_skip_rows(cjpeg_decoder *decoder, JDIMENSION count) {
  if (setjmp(decoder->failures.escape)) return 0;
  return jpeg_skip_scanlines(&decoder->info, count) == count;
}

static inline int cjpeg_read_row(cjpeg_decoder *decoder, unsigned char *row) {
  if (setjmp(decoder->failures.escape)) return 0;
  return jpeg_read_scanlines(&decoder->info, &row, 1) == 1;
}

// Columns and rows of a block of the reduced picture. The field's name is another one where the
// library was built to stand in for libjpeg 7 or 8.
static inline int cjpeg_block_size(const cjpeg_decoder *decoder) {
#if JPEG_LIB_VERSION >= 70
  return decoder->info.min_DCT_v_scaled_size;
#else
  return decoder->info.min_DCT_scaled_size;
#endif
}

// MARK: Encoding.

// All in one call, since all parts can fail. After success the caller frees `bytes`; after failure
// they may be freed already.
static inline int cjpeg_encode(
    cjpeg_encoder *encoder, const unsigned char *pixels, JDIMENSION width, JDIMENSION height,
    int pixel_stride, int quality) {
  struct jpeg_compress_struct *info = &encoder->info;
  memset(encoder, 0, sizeof *encoder);
  info->err = cjpeg_catch(&encoder->failures);
  if (setjmp(encoder->failures.escape)) {
    jpeg_destroy_compress(info);
    return 0;
  }
  jpeg_create_compress(info);
  jpeg_mem_dest(info, &encoder->bytes, &encoder->count);
  info->image_width = width;
  info->image_height = height;
  info->input_components = pixel_stride;
  info->in_color_space =
      pixel_stride == 1 ? JCS_GRAYSCALE : pixel_stride == 3 ? JCS_EXT_RGB : JCS_EXT_RGBX;
  jpeg_set_defaults(info);
  jpeg_set_quality(info, quality, TRUE);
  jpeg_start_compress(info, TRUE);
  while (info->next_scanline < height) {
    JSAMPROW row = (JSAMPROW)pixels + (size_t)info->next_scanline * width * pixel_stride;
    jpeg_write_scanlines(info, &row, 1);
  }
  jpeg_finish_compress(info);
  jpeg_destroy_compress(info);
  return 1;
}
