// SHA-256 (FIPS 180-4) of a file, read in pieces.
#pragma once

#include <filesystem>
#include <string>

#include "result.h"

namespace se::runtime {

//: Hex digits of the file's hash.
Result<std::string> sha256(std::filesystem::path const& file) noexcept;

}  // namespace se::runtime
