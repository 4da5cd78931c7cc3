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

// device_memory is the free memory of a device of ggml, by its index.
size_t device_memory(size_t index);

#endif
