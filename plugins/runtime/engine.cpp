#include "engine.h"

#include <numeric>

#include "files.h"
#include "onnxruntime.h"
#include "sha256.h"
#include "tensorrt.h"

namespace se::runtime {
namespace {

std::string told(std::vector<int64_t> const& shape) {
    std::string made = "[";
    for (std::size_t k = 0; k < shape.size(); ++k) made += (k == 0 ? "" : ", ") + (shape[k] < 0 ? "?" : std::to_string(shape[k]));
    return made + "]";
}

//: The file that a reference names, with the hash that it says.
Result<std::filesystem::path> checked(std::filesystem::path const& engine, File const& reference, char const* what) {
    Result<std::filesystem::path> const path = inside(engine.parent_path(), reference.file);
    if (!path) return path.error();
    std::error_code problem;
    if (!std::filesystem::is_regular_file(path.value(), problem))
        return Error{std::string("no ") + what + " " + path.value().string(), "put it beside the manifest, or build again"};
    Result<std::string> const hash = sha256(path.value());
    if (!hash) return hash.error();
    if (hash.value() != reference.sha256)
        return Error{path.value().string() + " is not the " + what + " that the manifest describes: it was cut off or changed",
                     "copy it again, or build again"};
    return path.value();
}

}  // namespace

std::size_t View::size() const {
    return std::accumulate(shape.begin(), shape.end(), bytes(type),
                           [](std::size_t a, int64_t b) { return a * static_cast<std::size_t>(b); });
}

std::vector<int64_t> withBatch(Port const& port, int64_t rows) {
    std::vector<int64_t> made = port.opt;
    if (!made.empty() && port.shape[0] < 0) made[0] = rows;
    return made;
}

Status Engine::check(std::vector<View> const& inputs) const {
    if (inputs.size() != manifest_.inputs.size())
        return Error{std::to_string(inputs.size()) + " input(s) for " + std::to_string(manifest_.inputs.size()),
                     "give each that the manifest names"};
    for (Port const& port : manifest_.inputs) {
        View const* found = nullptr;
        for (View const& view : inputs) found = view.name == port.name ? &view : found;
        if (found == nullptr) return Error{"input " + port.name + " is missing", "give each that the manifest names"};
        bool fits = found->type == port.type && found->shape.size() == port.shape.size() && found->data != nullptr;
        for (std::size_t k = 0; fits && k < port.shape.size(); ++k)
            fits = port.shape[k] < 0 ? found->shape[k] >= port.min[k] && found->shape[k] <= port.max[k] : found->shape[k] == port.shape[k];
        if (!fits)
            return Error{"input " + port.name + " is " + name(found->type) + " " + told(found->shape),
                         std::string("the engine takes ") + name(port.type) + " " + told(port.shape) + ", from " + told(port.min) + " to " +
                             told(port.max)};
    }
    return Done{};
}

Result<std::unique_ptr<Engine>> open(std::filesystem::path const& engine, Options const& options) noexcept {
    return guarded([&]() -> Result<std::unique_ptr<Engine>> {
        std::error_code problem;
        if (!std::filesystem::is_regular_file(engine, problem)) return Error{"no engine " + engine.string(), "run `se-deploy build` first"};
        Result<Manifest> manifest = readManifest(engine);
        if (!manifest) return manifest.error();
        if (manifest.value().engine.file != engine.filename())
            return Error{"the manifest beside " + engine.string() + " describes " + manifest.value().engine.file, "put the two together"};
        Result<std::filesystem::path> const file = checked(engine, manifest.value().engine, "engine");
        if (!file) return file.error();
        std::filesystem::path plugin;
        if (manifest.value().plugin) {
            Result<std::filesystem::path> const library = checked(engine, *manifest.value().plugin, "plugin");
            if (!library) return library.error();
            plugin = library.value();
        }
        std::string const& backend = manifest.value().backend;
        if (backend == "onnxruntime") return openOnnxRuntime(engine, std::move(manifest.value()), options);
        if (backend == "tensorrt" || backend == "tensorrt-rtx") return openTensorRt({engine, plugin, std::move(manifest.value())}, options);
        return Error{engine.string() + " is an engine of " + backend + ", which this loader does not have",
                     "build with --backend tensorrt or onnxruntime"};
    });
}

}  // namespace se::runtime
