package prototxt

import (
	"fmt"
	"slices"
	"strings"
)

// A fork is a well-known variant of Caffe with layer types and fields of its
// own. Its users' files are common, and what they need to hear is whose they
// are, not which of Caffe's names looks alike.
type fork struct {
	name, repo string // repo on github.com
	types      string // layer types, separated by blanks
	// fields has the fields of each message, separated by blanks.
	fields map[string]string
}

// forks has the forks and what each added, from its caffe.proto and its
// registered layers; of several that have a name, the first is where most files
// with it come from.
var forks = []fork{
	{"SSD", "weiliu89/caffe, branch ssd",
		"AnnotatedData DetectionEvaluate DetectionOutput MultiBoxLoss Normalize Permute PriorBox SmoothL1Loss VideoData",
		map[string]string{
			"LayerParameter": "annotated_data_param detection_evaluate_param detection_output_param multibox_loss_param norm_param " +
				"permute_param prior_box_param video_data_param",
			"SolverParameter":         "ap_version eval_type plateau_winsize show_per_class_result",
			"TransformationParameter": "crop_h crop_w distort_param emit_constraint expand_param noise_param resize_param",
		}},
	{"Fast and Faster R-CNN", "rbgirshick/caffe-fast-rcnn",
		"ROIPooling SmoothL1Loss",
		map[string]string{
			"LayerParameter":   "roi_pooling_param smooth_l1_loss_param",
			"DropoutParameter": "scale_train",
		}},
	{"R-FCN", "daijifeng001/caffe-rfcn",
		"BoxAnnotatorOHEM PSROIPooling SmoothL1LossOHEM SoftmaxWithLossOHEM",
		map[string]string{
			"LayerParameter": "box_annotator_ohem_param psroi_pooling_param mil_data_param mil_param",
			"LossParameter":  "pre_fixed_normalizer",
		}},
	{"MNC", "daijifeng001/caffe-mnc", "ROIWarping MaskPooling MaskResize", map[string]string{
		"LayerParameter": "roi_warping_param mask_pooling_param mask_resize_param"}},
	{"SegNet", "alexgkendall/caffe-segnet",
		"Upsample DenseImageData BN",
		map[string]string{
			"LayerParameter":   "upsample_param dense_image_data_param bn_param",
			"DropoutParameter": "sample_weights_test",
			"LossParameter":    "class_weighting weight_by_label_freqs",
		}},
	{"DeepLab and PSPNet", "hszhao/PSPNet",
		"Interp ImageSegData SegAccuracy BN MatRead MatWrite DenseCRF DomainTransform DomainTransformForwardOnly AdaptiveBiasChannel " +
			"BiasChannel SpatialProduct UniqueLabel",
		map[string]string{
			"LayerParameter": "interp_param seg_accuracy_param bn_param mat_read_param mat_write_param dense_crf_param " +
				"domain_transform_param adaptive_bias_channel_param bias_channel_param unique_label_param",
			"BatchNormParameter":      "update_global_stats",
			"ImageDataParameter":      "ignore_label label_type",
			"TransformationParameter": "crop_height crop_width scale_factors",
		}},
	{"CRF-RNN", "torrvision/crfasrnn", "MultiStageMeanfield", map[string]string{"LayerParameter": "multi_stage_meanfield_param"}},
	{"NVIDIA's Caffe", "NVIDIA/caffe",
		"Axpy DetectNetTransformation L1Loss TRT",
		map[string]string{
			"NetParameter": "default_forward_type default_backward_type default_forward_math default_backward_math default_conv_algos_override " +
				"default_cudnn_math_override eltwise_mem_sharing global_grad_scale global_grad_scale_adaptive reduce_buckets",
			"LayerParameter": "forward_type backward_type forward_math backward_math cudnn_math_override debug detectnet_augmentation_param " +
				"detectnet_groundtruth_param trt_param",
			"BatchNormParameter":   "scale_bias scale_filler bias_filler",
			"ConvolutionParameter": "conv_algos_override cudnn_convolution_algo_seeker",
			"DataParameter":        "cache parser_threads precache shuffle threads",
			"DropoutParameter":     "engine random_seed",
			"ELUParameter":         "lambda",
			"ImageDataParameter":   "cache dataset_share_per_node precache short_side threads",
			"LossParameter":        "label_smoothing",
			"PoolingParameter":     "torch_pooling",
			"SolverParameter": "rampup_interval rampup_lr min_lr solver_data_type store_blobs_in_old_format momentum_policy max_momentum " +
				"momentum_power weight_decay_policy weight_decay_power max_weight_decay larc larc_eta larc_policy larc_turbo " +
				"test_and_snapshot_last_epochs",
			"TransformationParameter": "allow_upscale display forward_packing horizontal_stretch_lower horizontal_stretch_upper " +
				"img_rand_resize_lower img_rand_resize_upper interpolation_algo_down interpolation_algo_up num_labels " +
				"rand_resize_ratio_lower rand_resize_ratio_upper random_seed use_gpu_transform vertical_stretch_lower vertical_stretch_upper",
		}},
	{"Intel's Caffe", "intel/caffe",
		"BoxData EvalDetection MKLBatchNorm MnActivation RegionLoss Reorg SpatialDropout",
		map[string]string{
			"NetParameter": "bn_stats_batch_size compile_net_state engine multinode",
			"LayerParameter": "engine eval_detection_param mn_activation_param mn_grad_compress_param multinode quantization_param " +
				"region_loss_param reorg_param spatial_dropout_param split_param",
			"BatchNormParameter":    "bias_term engine filler relu stats_batch_size use_weight_bias",
			"ConcatParameter":       "engine per_fla_fuse",
			"ConvolutionParameter":  "coeff conv_algorithm fusion_type negative_slope relu",
			"DataParameter":         "side",
			"EltwiseParameter":      "engine",
			"FillerParameter":       "scale",
			"ImageDataParameter":    "min_height min_width",
			"InnerProductParameter": "engine negative_slope relu",
			"PoolingParameter":      "avg_include_pad axis kernel_size_3d pad_3d stride_3d",
			"ReLUParameter":         "fuse",
			"ReshapeParameter":      "pixelshuffler",
			"SolverParameter": "disabled_update engine local_gw_ratio local_lr_auto stageiter stagelr test_offset warmup_iter " +
				"warmup_start_lr",
			"TransformationParameter": "bgr2rgb flow pad random_aspect_ratio_param random_resize_param",
		}},
	{"FlowNet 2", "lmb-freiburg/flownet2",
		"Accum BlackAugmentation ChannelNorm Correlation Correlation1D CustomData DataAugmentation DisparityData Downsample FLOWriter " +
			"FloatReader FloatWriter FlowAugmentation FlowWarp GenerateAugmentationParameters ImgReader ImgWriter LpqLoss Mean NegReLU " +
			"PFMWriter Resample",
		map[string]string{
			"LayerParameter": "accum_param augmentation_param black_augmentation_param coeff_schedule_param correlation_param " +
				"downsample_param flow_warp_param l1_loss_param lpq_loss_param mean_param reader_param resample_param reshape_every_iter " +
				"writer_param",
			"DataParameter": "block_size disk_reader_threads encoding huge_video_dataset limit_samples permute_every_iter preselection_file " +
				"preselection_label rand_permute rand_permute_order rand_permute_seed range_end range_start slice_point subtract verbose",
			"FillerParameter": "diag_val",
		}},
	{"C3D", "facebook/C3D",
		"BlackHole Convolution3D Deconvolution3D L2Normalize Pooling3D DownSampling VideoSegmentationData VideoWithVoxelTruthData VolumeData " +
			"VoxelCustomLoss VoxelSoftmax VoxelSoftmaxLoss EltwiseProduct",
		map[string]string{
			"LayerParameter":       "convolution3d_param pooling3d_param down_sampling_param",
			"ConvolutionParameter": "filter_group kernel_depth temporal_pad temporal_stride",
			"DataParameter":        "show_data",
			"ImageDataParameter": "clip_max clip_min is_flow mean_value new_length num_truth_channels sampling_rate show_data truth_scale " +
				"use_byte_input use_image use_label use_temporal_jitter",
			"PoolingParameter": "kernel_depth temporal_stride",
		}},
	{"TSN", "yjxiong/caffe",
		"BatchReduction Gather Scatter SegData SyncBN",
		map[string]string{
			"NetParameter":         "mem_param",
			"LayerParameter":       "batch_reduction_param seg_data_param",
			"ConvolutionParameter": "dilation_h dilation_w",
			"ReductionParameter":   "k",
			"SolverParameter":      "group_id richness",
			"TransformationParameter": "fix_crop is_flow max_distort more_fix_crop multi_scale original_image scale_ratios stride " +
				"upper_height upper_size upper_width",
		}},
	{"OpenPose", "CMU-Perceptual-Computing-Lab/caffe_train", "CPMData", map[string]string{"LayerParameter": "cpm_transform_param"}},
	{"center loss", "ydwen/caffe-face", "CenterLoss", map[string]string{"LayerParameter": "center_loss_param"}},
	{"SphereFace", "wy1iu/sphereface", "MarginInnerProduct", map[string]string{"LayerParameter": "margin_inner_product_param"}},
	{"Ristretto", "pmgysel/caffe", "ConvolutionRistretto DeconvolutionRistretto FcRistretto LRNRistretto", map[string]string{
		"LayerParameter": "quantization_param"}},
	{"MobileNet's depthwise layer", "yonghenglh6/DepthwiseConvolution", "DepthwiseConvolution", nil},
	{"MobileNet's depthwise layer", "farmingyard/caffe-mobilenet", "ConvolutionDepthwise DeconvolutionDepthwise", nil},
	{"ShuffleNet", "farmingyard/ShuffleNet", "ShuffleChannel", map[string]string{"LayerParameter": "shuffle_channel_param"}},
	{"MobileNet-SSD", "chuanqi305/ssd", "ReLU6", map[string]string{"LayerParameter": "relu6_param", "ConvolutionParameter": "tf_pad"}},
	{"caffe-windows", "happynear/caffe-windows",
		"Arccos BatchContrastiveLoss ChannelScale ConfidencePenaltyLoss CorrelationLoss Cosine FCNAccuracy Flip FocalLoss " +
			"GeneralContrastiveLoss GeneralTripletLoss GlobalLSEMargin Gram Hotspot InnerDistance Insanity LabelSpecificAdd " +
			"LargeMarginInnerProduct Local MovingNormalize MultiLabelImageData NCALoss Noise Pairwise PredictBox Proposal Resize Slope " +
			"SoftContrastiveLoss SoftTruncation SubRegion Transformer TripletLoss Truncation EltwiseAffine",
		map[string]string{
			"LayerParameter": "batch_contrastive_loss_param channel_scale_param confidence_penalty_loss_param eltwise_affine_param " +
				"fcn_data_param feature_decay_loss_param flip_param focal_loss_param general_contrastive_loss_param " +
				"general_triplet_loss_param hotspot_param infimum_loss_param inner_distance_param insanity_param label_specific_add_param " +
				"label_specific_affine_param label_specific_hard_margin_param label_specific_margin_param label_specific_rescale_param " +
				"largemargin_inner_product_param local_param nca_param noise_param normalize_param ordinal_regression_loss_param " +
				"pairwise_param predict_box_param proposal_param resize_param smoothl1_param soft_contrastive_loss_param " +
				"soft_truncation_param sub_region_param triplet_loss_param truncation_param",
			"BatchNormParameter": "disable_mean disable_variance",
			"ImageDataParameter": "balance_by balance_class face_mirror face_point_num face_transform label_cut_end label_cut_start " +
				"max_aspect_ratio max_random_scale max_random_shift max_rotate_angle max_shear_ratio min_random_scale",
			"SoftmaxParameter":        "class_weight cutting_point hard_mining_label hard_ratio label_smooth_factor normalize_type",
			"SolverParameter":         "clamp_weights_lower clamp_weights_upper clip_weights",
			"TransformationParameter": "aspect_max aspect_min center_crop erase_ratio scale_max scale_min",
		}},
}

// String names the fork and where it is.
func (f *fork) String() string { return fmt.Sprintf("%s (github.com/%s)", f.name, f.repo) }

// forkOfField names the fork that added a field to a message, "" if none is
// known. V1 layers got the same fields as others.
func forkOfField(message, field string) string {
	if message == "V1LayerParameter" {
		message = "LayerParameter"
	}
	for i := range forks {
		if slices.Contains(strings.Fields(forks[i].fields[message]), field) {
			return forks[i].String()
		}
	}
	return ""
}

// ForkOfType names the fork of Caffe that a layer type is of, with the place of
// its source: "SSD (github.com/…)". It is "" for types of Caffe and for those
// that no well-known fork has. Names of V1's enum are taken, too.
func ForkOfType(name string) string {
	flat := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), "_", "") }
	exact := func(a, b string) bool { return a == b }
	upper := name == strings.ToUpper(name) && len(name) > 2
	for _, same := range []func(a, b string) bool{exact, func(a, b string) bool { return upper && flat(a) == flat(b) }} {
		for i := range forks {
			for _, t := range strings.Fields(forks[i].types) {
				if same(t, name) {
					return forks[i].String()
				}
			}
		}
	}
	return ""
}
