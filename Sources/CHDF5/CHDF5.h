// HDF5 for Swift. Shims exist only for what the importer cannot see or Swift 6 refuses; each
// group says why.
#pragma once
#include <hdf5.h>
#include <stdlib.h>

// Native types are macros that open the library and read a global variable; Swift does not see
// the macros, and rejects the variables as shared mutable state.
static inline hid_t chdf5_native_float(void) { return H5T_NATIVE_FLOAT; }
static inline hid_t chdf5_native_double(void) { return H5T_NATIVE_DOUBLE; }
static inline hid_t chdf5_native_int8(void) { return H5T_NATIVE_INT8; }
static inline hid_t chdf5_native_uint8(void) { return H5T_NATIVE_UINT8; }
static inline hid_t chdf5_native_int16(void) { return H5T_NATIVE_INT16; }
static inline hid_t chdf5_native_uint16(void) { return H5T_NATIVE_UINT16; }
static inline hid_t chdf5_native_int32(void) { return H5T_NATIVE_INT32; }
static inline hid_t chdf5_native_uint32(void) { return H5T_NATIVE_UINT32; }
static inline hid_t chdf5_native_int64(void) { return H5T_NATIVE_INT64; }
static inline hid_t chdf5_native_uint64(void) { return H5T_NATIVE_UINT64; }
static inline hid_t chdf5_c_string(void) { return H5T_C_S1; }

// Property list classes are macros over globals, as above.
static inline hid_t chdf5_file_access_class(void) { return H5P_FILE_ACCESS; }
static inline hid_t chdf5_file_create_class(void) { return H5P_FILE_CREATE; }
static inline hid_t chdf5_dataset_create_class(void) { return H5P_DATASET_CREATE; }
static inline hid_t chdf5_link_create_class(void) { return H5P_LINK_CREATE; }

// Access flags are macros with a function call inside (H5CHECK).
static inline unsigned chdf5_read_only(void) { return H5F_ACC_RDONLY; }
static inline unsigned chdf5_read_write(void) { return H5F_ACC_RDWR; }
static inline unsigned chdf5_truncate(void) { return H5F_ACC_TRUNC; }

// A macro with a cast, which the importer skips.
static inline size_t chdf5_variable_length(void) { return H5T_VARIABLE; }

// File locking became a property in 1.10.7 and 1.12.1; older libraries only read the environment.
static inline herr_t chdf5_set_file_locking(hid_t access, int enabled) {
#if H5_VERSION_GE(1, 12, 1) || (H5_VERSION_GE(1, 10, 7) && !H5_VERSION_GE(1, 12, 0))
  return H5Pset_file_locking(access, enabled ? 1 : 0, 1);
#else
  (void)access;
  return setenv("HDF5_USE_FILE_LOCKING", enabled ? "TRUE" : "FALSE", 1) == 0 ? 0 : -1;
#endif
}
