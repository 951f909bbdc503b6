#include "c_api.h"

#include <algorithm>
#include <cstring>

#include "engine.h"
#include "preprocess.h"

using namespace se::runtime;

struct SeEngine {
    std::unique_ptr<Engine> engine;
};

namespace {

int fail(Error const& error, char* into, size_t room) {
    if (into == nullptr || room == 0) return 1;
    std::string const line = error.line();
    size_t const count = std::min(room - 1, line.size());
    std::memcpy(into, line.data(), count);
    into[count] = '\0';
    return 1;
}

Options optionsOf(SeOptions const* given) {
    Options made;
    if (given == nullptr) return made;
    made.onnxruntime = given->onnxruntime == nullptr ? "" : given->onnxruntime;
    made.tensorrt = given->tensorrt == nullptr ? "" : given->tensorrt;
    made.threads = given->threads;
    made.device = given->device;
    return made;
}

Result<std::vector<View>> viewsOf(SeTensor const* tensors, size_t count) {
    std::vector<View> made;
    for (SeTensor const* tensor = tensors; tensor != tensors + count; ++tensor) {
        bool const known = tensor->name != nullptr && tensor->type >= 0 && tensor->type <= static_cast<int>(Type::kBool);
        if (!known || tensor->rank < 0 || tensor->rank > SE_MAX_RANK)
            return Error{"a tensor without name, type or shape", "fill in SeTensor"};
        made.push_back({tensor->name, static_cast<Type>(tensor->type), {tensor->shape, tensor->shape + tensor->rank}, tensor->data});
    }
    return made;
}

}  // namespace

SeEngine* se_open(char const* engine, SeOptions const* options, char* error, size_t room) {
    Result<SeEngine*> const made = guarded([&]() -> Result<SeEngine*> {
        Result<std::unique_ptr<Engine>> opened = open(engine == nullptr ? "" : engine, optionsOf(options));
        if (!opened) return opened.error();
        return new SeEngine{std::move(opened.value())};
    });
    if (made) return made.value();
    fail(made.error(), error, room);
    return nullptr;
}

void se_close(SeEngine* engine) { delete engine; }

size_t se_outputs(SeEngine const* engine) { return engine->engine->manifest().outputs.size(); }

int se_run(SeEngine* engine, SeTensor const* inputs, size_t count, SeTensor* outputs, char* error, size_t room) {
    Status const ran = guarded([&]() -> Status {
        Result<std::vector<View>> const views = viewsOf(inputs, count);
        if (!views) return views.error();
        Result<std::vector<View>> const got = engine->engine->run(views.value());
        if (!got) return got.error();
        for (std::size_t k = 0; k < got.value().size(); ++k) {
            View const& view = got.value()[k];
            if (view.shape.size() > SE_MAX_RANK) return Error{"output " + view.name + " has too many dimensions", "use the C++ interface"};
            SeTensor& out = outputs[k];
            out = {engine->engine->manifest().outputs[k].name.c_str(),
                   static_cast<int32_t>(view.type),
                   static_cast<int32_t>(view.shape.size()),
                   {},
                   const_cast<void*>(view.data)};
            std::copy(view.shape.begin(), view.shape.end(), out.shape);
        }
        return Done{};
    });
    return ran ? 0 : fail(ran.error(), error, room);
}

int se_preprocess(SeEngine const* engine, uint8_t const* pixels, int32_t width, int32_t height, int32_t channels, int32_t orientation,
                  float* values, size_t capacity, int32_t shape[3], char* error, size_t room) {
    Status const done = guarded([&]() -> Status {
        if (pixels == nullptr || width < 1 || height < 1 || (channels != 1 && channels != 3))
            return Error{"no image", "give pixels and their size"};
        Image image(width, height, channels);
        std::memcpy(image.pixels.data(), pixels, image.pixels.size());
        Result<Picture> const made = preprocess(image, orientation, engine->engine->manifest().preprocess);
        if (!made) return made.error();
        Picture const& picture = made.value();
        if (picture.values.size() > capacity) return Error{"no room for " + std::to_string(picture.values.size()) + " values", "give more"};
        std::copy(picture.values.begin(), picture.values.end(), values);
        shape[0] = picture.channels, shape[1] = picture.height, shape[2] = picture.width;
        return Done{};
    });
    return done ? 0 : fail(done.error(), error, room);
}
