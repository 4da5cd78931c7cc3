// What Ollama's package llama does not offer of llama.cpp, in the words of its
// llama.h.

#ifndef PARE_NATIVE_H
#define PARE_NATIVE_H

#include <stddef.h>
#include <stdint.h>

struct llama_context;

// keep_reason has the reason kept for which a model could not be loaded, and the log
// go on to where it went. load_reason is the latest since it was last asked, or "".
void keep_reason(void);
const char *load_reason(void);

void llama_free(struct llama_context *context);
float *llama_get_logits_ith(struct llama_context *context, int32_t i);

// block_size and block_bytes are how many numbers a block of a type has, and how many
// bytes; 0 where ggml cannot compute its numbers.
int64_t block_size(uint32_t type);
int64_t block_bytes(uint32_t type);

// to_floats computes n numbers, whole blocks.
void to_floats(uint32_t type, const void *data, float *out, int64_t n);

// device_memory is the free memory of a device of ggml, by its index.
size_t device_memory(size_t index);

#endif
