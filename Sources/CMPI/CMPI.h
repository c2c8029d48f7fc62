// MPI for Swift. Handles are macros (casts of addresses of globals in Open MPI, casts of integers
// in MPICH), which the importer skips; each is a function here. Calls need no shim.
#pragma once
#include <mpi.h>

// Communicators.
static inline MPI_Comm cmpi_world(void) { return MPI_COMM_WORLD; }
static inline MPI_Comm cmpi_self(void) { return MPI_COMM_SELF; }
static inline MPI_Comm cmpi_null_communicator(void) { return MPI_COMM_NULL; }

// Element types.
static inline MPI_Datatype cmpi_float(void) { return MPI_FLOAT; }
static inline MPI_Datatype cmpi_double(void) { return MPI_DOUBLE; }
static inline MPI_Datatype cmpi_int32(void) { return MPI_INT32_T; }
static inline MPI_Datatype cmpi_int64(void) { return MPI_INT64_T; }
static inline MPI_Datatype cmpi_uint8(void) { return MPI_UINT8_T; }
static inline MPI_Datatype cmpi_uint16(void) { return MPI_UINT16_T; }
static inline MPI_Datatype cmpi_uint64(void) { return MPI_UINT64_T; }
static inline MPI_Datatype cmpi_null_datatype(void) { return MPI_DATATYPE_NULL; }

// Reduction operations.
static inline MPI_Op cmpi_sum(void) { return MPI_SUM; }
static inline MPI_Op cmpi_minimum(void) { return MPI_MIN; }
static inline MPI_Op cmpi_maximum(void) { return MPI_MAX; }
static inline MPI_Op cmpi_logical_and(void) { return MPI_LAND; }

// Special arguments.
static inline void *cmpi_in_place(void) { return MPI_IN_PLACE; }
static inline MPI_Status *cmpi_ignore_status(void) { return MPI_STATUS_IGNORE; }
static inline MPI_Status *cmpi_ignore_statuses(void) { return MPI_STATUSES_IGNORE; }
static inline MPI_Request cmpi_null_request(void) { return MPI_REQUEST_NULL; }
static inline MPI_Info cmpi_null_info(void) { return MPI_INFO_NULL; }
static inline MPI_Win cmpi_null_window(void) { return MPI_WIN_NULL; }
static inline MPI_Errhandler cmpi_errors_return(void) { return MPI_ERRORS_RETURN; }

// Enumerators and negative numbers in parentheses, whose import differs between libraries.
static inline int cmpi_split_by_shared_memory(void) { return MPI_COMM_TYPE_SHARED; }
static inline int cmpi_any_source(void) { return MPI_ANY_SOURCE; }
static inline int cmpi_undefined(void) { return MPI_UNDEFINED; }
