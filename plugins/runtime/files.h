// Files that a manifest names: bounded, and never outside the manifest's own folder.
#pragma once

#include <filesystem>
#include <string>

#include "result.h"

namespace se::runtime {

//: A whole file; refused before anything is allocated where it is larger than `most` bytes.
Result<std::string> contents(std::filesystem::path const& file, std::uintmax_t most) noexcept;

//: The file that a manifest in `folder` names; an error where it would lie outside, links followed.
Result<std::filesystem::path> inside(std::filesystem::path const& folder, std::string const& name) noexcept;

}  // namespace se::runtime
