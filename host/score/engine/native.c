#include "native.h"

#include "ggml/ggml-backend.h"

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

size_t device_memory(size_t index) {
	size_t free = 0, total = 0;
	ggml_backend_dev_memory(ggml_backend_dev_get(index), &free, &total);
	return free;
}
