#include "files.h"

#include <algorithm>
#include <fstream>

namespace se::runtime {

Result<std::string> contents(std::filesystem::path const& file, std::uintmax_t most) noexcept {
    return guarded([&]() -> Result<std::string> {
        std::error_code problem;
        if (!std::filesystem::is_regular_file(file, problem)) return Error{"no file " + file.string(), "put it there"};
        std::uintmax_t const size = std::filesystem::file_size(file, problem);
        if (problem) return Error{"cannot read " + file.string() + ": " + problem.message(), "check its permissions"};
        if (size > most) return Error{file.string() + " has " + std::to_string(size) + " bytes", "it may have " + std::to_string(most)};
        std::string made(size, '\0');
        std::ifstream stream(file, std::ios::binary);
        if (!stream.read(made.data(), static_cast<std::streamsize>(size)))
            return Error{"cannot read " + file.string(), "check its permissions"};
        return made;
    });
}

Result<std::filesystem::path> inside(std::filesystem::path const& folder, std::string const& name) noexcept {
    return guarded([&]() -> Result<std::filesystem::path> {
        Error const outside{"the manifest names \"" + name + "\", which is not a file in its own folder",
                            "do not use it, or build it again"};
        if (name.empty() || name.find('\0') != std::string::npos) return outside;
        std::error_code problem;
        std::filesystem::path const base = std::filesystem::weakly_canonical(folder.empty() ? "." : folder, problem);
        if (problem) return outside;
        std::filesystem::path const whole = std::filesystem::weakly_canonical(base / name, problem);
        if (problem) return outside;
        auto const [left, _] = std::mismatch(base.begin(), base.end(), whole.begin(), whole.end());
        if (left != base.end() || whole == base) return outside;
        return folder / name;
    });
}

}  // namespace se::runtime
