/* The loader for other languages: plain C, errors as text, nothing thrown. One batch at a time for each engine. */
#ifndef SE_RUNTIME_C_API_H
#define SE_RUNTIME_C_API_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SE_MAX_RANK 8

typedef struct SeEngine SeEngine;

/* Types by number: float32, float16, float64, int8, uint8, int32, int64, bool. */
typedef struct SeTensor {
    char const* name;
    int32_t type;
    int32_t rank;
    int64_t shape[SE_MAX_RANK];
    void* data;
} SeTensor;

typedef struct SeOptions {
    char const* onnxruntime; /* a library's path, or NULL */
    char const* tensorrt;    /* likewise */
    int32_t threads;         /* of ONNX Runtime; 0: its own choice */
    int32_t device;          /* the GPU's number */
} SeOptions;

/* NULL where it cannot be opened: `error` says why in at most `room` bytes. */
SeEngine* se_open(char const* engine, SeOptions const* options, char* error, size_t room);
void se_close(SeEngine* engine);

/* How many outputs there are: room for so many is what se_run needs. */
size_t se_outputs(SeEngine const* engine);

/* 0, and `outputs` are the engine's until the next call; or 1 and an error. */
int se_run(SeEngine* engine, SeTensor const* inputs, size_t count, SeTensor* outputs, char* error, size_t room);

/* An image (rows of 1 or 3 channels, 8 bits) as the engine's manifest wants it: float32 (channels, height, width), into `values`, which
   has room for `capacity` of them. 0, or 1 and an error. */
int se_preprocess(SeEngine const* engine, uint8_t const* pixels, int32_t width, int32_t height, int32_t channels, int32_t orientation,
                  float* values, size_t capacity, int32_t shape[3], char* error, size_t room);

#ifdef __cplusplus
}
#endif

#endif
