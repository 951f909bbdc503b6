// SIMT on a CPU: the kernels' sources compile with g++ -DSE_SIMT against this header and run block by block, every CUDA thread a fiber.
//
// A fiber runs until it must wait (a barrier, a shuffle, another block's counter), then the scheduler takes another one, in an order that
// the seed decides. So a thread can be a whole phase ahead of its neighbours: a barrier that is missing shows as a wrong result.
//   simt/half.h        __half and __nv_bfloat16, rounded bit by bit
//   simt/fiber.h       a stack and a context; AddressSanitizer is told about both
//   simt/scheduler.h   ready fibers, waiting fibers, deadlock
//   simt/grid.h        blocks, warps, clusters; shared memory that is poisoned before a block and after it
//   simt/device.h      what device code calls: threadIdx, __syncthreads, __shfl_xor_sync, clusterSync, ..
//   simt/traffic.h     bytes read and written
#pragma once

#include "simt/device.h"
#include "simt/half.h"
#include "simt/traffic.h"
