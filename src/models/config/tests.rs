use std::path::PathBuf;

use super::*;

fn tiny(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/reference/tiny").join(file)
}

#[test]
fn the_reference_checkpoint_is_understood() {
    let dream = DreamConfig::open(&tiny("config.json")).unwrap();
    assert_eq!((dream.hidden_size, dream.intermediate_size, dream.num_hidden_layers), (64, 172, 2));
    assert_eq!((dream.key_value_heads(), dream.head_dim(), dream.vocab_size), (4, 16, 520));
    assert_eq!(dream.special_tokens.get("<dream_start>"), Some(&515));
    assert_eq!(dream.special_tokens.get("[PAD]"), Some(&512));
    assert_eq!(dream.special_tokens.len(), 11);
    assert_eq!(dream.pad_token_id, Some(0));
    let head = dream.plugins.stable_diffusion_head.unwrap();
    assert_eq!((head.resolution, head.diffusion_name_or_path.as_str()), (32, "stabilityai/stable-diffusion-2-1-base"));
    assert_eq!(dream.plugins.dream_embedding.unwrap().num_dream_queries, 8);
    assert_eq!(dream.plugins.clip_vision_embedding.unwrap().select_layer, -2);

    let clip = ClipVisionConfig::open(&tiny("clip-vit-large-patch14/config.json")).unwrap();
    assert_eq!((clip.hidden_size, clip.num_hidden_layers, clip.patches()), (48, 3, 16));
    assert_eq!((clip.hidden_act, clip.layer_norm_eps), (VisionActivation::QuickGelu, 1e-5));
    assert_eq!(clip.hidden_state(-2).unwrap(), 2);
    assert!(clip.hidden_state(-5).is_err() && clip.hidden_state(4).is_err());

    let unet = UNetConfig::open(&tiny("stable-diffusion-2-1-base/unet/config.json")).unwrap();
    assert_eq!(unet.heads().unwrap(), [2, 4, 4]);
    assert_eq!(unet.cross_dims().unwrap(), [32, 32, 32]);
    assert!(unet.use_linear_projection && unet.down_block_types[1].has_attention());

    let vae = VaeConfig::open(&tiny("stable-diffusion-2-1-base/vae/config.json")).unwrap();
    assert_eq!((vae.downscale(), vae.scaling_factor), (2, 0.18215));

    let scheduler = SchedulerConfig::open(&tiny("stable-diffusion-2-1-base/scheduler/scheduler_config.json")).unwrap();
    assert_eq!((scheduler.beta_schedule, scheduler.steps_offset), (BetaSchedule::ScaledLinear, 1));
    assert_eq!((scheduler.set_alpha_to_one, scheduler.timestep_spacing), (Some(false), None));
}

#[test]
fn both_styles_of_preprocessor_mean_the_same() {
    let old = ClipPreprocessConfig::open(&tiny("clip-vit-large-patch14/preprocessor_config.json")).unwrap();
    let recorded: Value = serde_json::from_slice(&std::fs::read(tiny("reference/preprocess.json")).unwrap()).unwrap();
    let new = ClipPreprocessConfig::from_json("new", recorded["clip"].to_string().as_bytes()).unwrap();
    assert_eq!(old, new);
    assert_eq!(old.size, ResizeTarget::ShortestEdge(32));
    assert_eq!(old.crop_size, [32, 32]);
    assert_eq!(ClipPreprocessConfig::from_json("empty", b"{}").unwrap().crop_size, [224, 224]);
}

#[test]
fn absent_keys_have_the_libraries_defaults() {
    let dream = DreamConfig::from_json("f", br#"{"pad_token_id": -1, "num_key_value_heads": null}"#).unwrap();
    assert_eq!((dream.hidden_size, dream.key_value_heads(), dream.pad_token_id), (4096, 32, None));
    let scaled = DreamConfig::from_json("f", br#"{"rope_scaling": {"type": "dynamic", "factor": 2}}"#).unwrap();
    assert_eq!(scaled.rope_scaling, Some(RopeScaling::Dynamic { factor: 2.0 }));
    let unet = UNetConfig::from_json("f", br#"{"only_cross_attention": [false, false, false, false]}"#).unwrap();
    assert_eq!((unet.heads().unwrap(), unet.levels()), (vec![8; 4], 4));
    assert_eq!(SchedulerConfig::from_json("f", b"{}").unwrap().beta_end, 0.02);
    let flat = br#"{"hidden_size": 32, "num_attention_heads": 2, "hidden_act": "gelu"}"#;
    assert_eq!(ClipVisionConfig::from_json("f", flat).unwrap().hidden_act, VisionActivation::Gelu);
}

fn refused<C: Config>(json: &str, want: &str) {
    let Err(error) = C::from_json("some/config.json", json.as_bytes()) else { panic!("{json} was accepted") };
    let error = error.to_string();
    assert!(error.starts_with("some/config.json: ") && error.contains(want) && !error.contains('\n'), "{error}");
}

#[test]
fn nonsense_is_refused_with_the_key_and_the_file() {
    refused::<DreamConfig>("{", "EOF");
    refused::<DreamConfig>(r#"{"hidden_size": 0}"#, "hidden_size is 0");
    refused::<DreamConfig>(r#"{"num_attention_heads": 0}"#, "num_attention_heads is 0");
    refused::<DreamConfig>(r#"{"num_attention_heads": 3}"#, "does not divide");
    refused::<DreamConfig>(r#"{"num_key_value_heads": 5}"#, "num_key_value_heads 5");
    refused::<DreamConfig>(r#"{"hidden_size": -1}"#, "invalid value");
    refused::<DreamConfig>(r#"{"hidden_size": 99999999999}"#, "over");
    refused::<DreamConfig>(r#"{"hidden_act": "relu"}"#, "hidden_act");
    refused::<DreamConfig>(r#"{"rope_scaling": {"type": "yarn", "factor": 2.0}}"#, "yarn");
    refused::<DreamConfig>(r#"{"rope_scaling": {"type": "linear", "factor": 0.5}}"#, "factor");
    refused::<DreamConfig>(r#"{"vocab_size": 8, "special_tokens2ids_dict": {"<x>": 8}}"#, "<x> has id 8");
    refused::<DreamConfig>(
        r#"{"plugins_init_kwargs": {"dream_embedding": {"embed_hidden_size": 64}}}"#,
        "dream_embedding",
    );
    refused::<ClipVisionConfig>(r#"{"vision_config": {"num_attention_heads": 7}}"#, "does not divide");
    refused::<ClipVisionConfig>(r#"{"patch_size": 0}"#, "patch_size is 0");
    refused::<ClipVisionConfig>("[]", "");
    refused::<ClipPreprocessConfig>(r#"{"size": 0}"#, "is 0");
    refused::<ClipPreprocessConfig>(r#"{"resample": 0}"#, "resample 0");
    refused::<ClipPreprocessConfig>(r#"{"image_std": [0, 1, 1]}"#, "image_std");
    refused::<UNetConfig>(r#"{"norm_num_groups": 0}"#, "norm_num_groups is 0");
    refused::<UNetConfig>(r#"{"norm_num_groups": 7}"#, "does not divide");
    refused::<UNetConfig>(r#"{"attention_head_dim": [5, 10]}"#, "2 entries for 4 levels");
    refused::<UNetConfig>(r#"{"attention_head_dim": 7}"#, "does not divide");
    refused::<UNetConfig>(r#"{"down_block_types": ["AttnDownBlock2D"]}"#, "AttnDownBlock2D");
    refused::<UNetConfig>(r#"{"block_out_channels": []}"#, "is 0");
    refused::<UNetConfig>(r#"{"class_embed_type": "timestep"}"#, "class_embed_type");
    refused::<UNetConfig>(r#"{"addition_embed_type": "text_time"}"#, "addition_embed_type");
    refused::<UNetConfig>(r#"{"mid_block_type": "UNetMidBlock2D"}"#, "mid_block_type");
    refused::<UNetConfig>(r#"{"freq_shift": 160}"#, "freq_shift");
    refused::<VaeConfig>(r#"{"norm_num_groups": 0}"#, "norm_num_groups is 0");
    refused::<VaeConfig>(r#"{"up_block_types": ["AttnUpDecoderBlock2D"]}"#, "AttnUpDecoderBlock2D");
    refused::<VaeConfig>(r#"{"scaling_factor": 0}"#, "scaling_factor");
    refused::<SchedulerConfig>(r#"{"num_train_timesteps": 0}"#, "num_train_timesteps is 0");
    refused::<SchedulerConfig>(r#"{"trained_betas": [0.1]}"#, "1 entries");
    refused::<SchedulerConfig>(r#"{"prediction_type": "noise"}"#, "noise");
    refused::<SchedulerConfig>(r#"{"beta_end": 2}"#, "beta");
}

#[test]
fn python_json_is_read() {
    let json = br#"{"_class_name": "NaN \" -Infinity", "variance_type": null, "lambda_min_clipped": -Infinity, "beta_end": 0.5}"#;
    let config = SchedulerConfig::from_json("scheduler_config.json", json).unwrap();
    assert_eq!(config.class_name.as_deref(), Some("NaN \" -Infinity"));
    assert_eq!((config.variance_type, config.beta_end), (VarianceType::FixedSmall, 0.5));
}
