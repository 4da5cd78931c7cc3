#include "native.h"

#include "ggml/ggml-backend.h"
#include "ggml/ggml.h"

#include <stdio.h>
#include <string.h>

void llama_log_get(ggml_log_callback *log, void **data);
void llama_log_set(ggml_log_callback log, void *data);

static ggml_log_callback before;
static void *before_data;
static char reason[512]; // written and read by the thread that loads

static void keep_log(enum ggml_log_level level, const char *text, void *data) {
	static const char mark[] = "error loading model: ";
	const char *found = level == GGML_LOG_LEVEL_ERROR ? strstr(text, mark) : NULL;
	if (found) {
		snprintf(reason, sizeof reason, "%s", found + strlen(mark));
		reason[strcspn(reason, "\n")] = 0;
	}
	before(level, text, data);
}

void keep_reason(void) {
	llama_log_get(&before, &before_data);
	llama_log_set(keep_log, before_data);
}

const char *load_reason(void) {
	static char out[sizeof reason];
	memcpy(out, reason, sizeof out);
	reason[0] = 0;
	return out;
}

static const struct ggml_type_traits *traits(uint32_t type) {
	const struct ggml_type_traits *t = type < GGML_TYPE_COUNT ? ggml_get_type_traits(type) : NULL;
	return t && t->to_float && t->blck_size > 0 ? t : NULL;
}

int64_t block_size(uint32_t type) {
	const struct ggml_type_traits *t = traits(type);
	return t ? t->blck_size : 0;
}

int64_t block_bytes(uint32_t type) {
	const struct ggml_type_traits *t = traits(type);
	return t ? (int64_t)t->type_size : 0;
}

void to_floats(uint32_t type, const void *data, float *out, int64_t n) {
	traits(type)->to_float(data, out, n);
}

size_t device_memory(size_t index) {
	size_t free = 0, total = 0;
	ggml_backend_dev_memory(ggml_backend_dev_get(index), &free, &total);
	return free;
}
