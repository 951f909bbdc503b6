// libFuzzer: no text makes the manifest's reader crash, hang, or take memory out of proportion.
#include <cstddef>
#include <cstdint>

#include "manifest.h"

extern "C" int LLVMFuzzerTestOneInput(uint8_t const* data, size_t size) {
    auto const made = se::runtime::parseManifest({reinterpret_cast<char const*>(data), size});
    if (made && made.value().inputs.empty()) __builtin_trap();
    return 0;
}
