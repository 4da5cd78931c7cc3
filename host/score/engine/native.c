#include "native.h"

#include "ggml/ggml-backend.h"

size_t device_memory(size_t index) {
	size_t free = 0, total = 0;
	ggml_backend_dev_memory(ggml_backend_dev_get(index), &free, &total);
	return free;
}
